"""The command line: thin commands over the rooms below. stdout is data, stderr is talk."""
