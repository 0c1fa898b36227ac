"""Fuzzing of everything that reads an archive: `make fuzz`, or ``python -m tests.fuzz --help``.

A small golden run is changed in one or a few places, most often sealed again so that its hashes
fit, and given to verify, show, report, compare and recover. Whatever it holds, each of them ends
within seconds, and with a `KitError` if with an error. See `mutate` for what is changed and
`faces` for what is asked.
"""
