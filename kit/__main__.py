"""``python -m kit``: the command line where kit is on the path, but not installed."""

from kit.cli.main import main

if __name__ == "__main__":
    main()
