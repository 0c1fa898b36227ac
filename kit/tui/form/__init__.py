"""A form for a JSON document: the draft that is edited, its fields, and their widgets.

`draft` and `fields` are pure and know nothing of a terminal; `rows`, `sheet` and `view`
draw them.
"""
