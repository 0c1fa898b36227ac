"""The command line: thin commands over the packages below. Data on stdout, messages on stderr."""
