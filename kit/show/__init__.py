"""How runs are shown: the terminal, the report page, the list of runs, the live view."""
