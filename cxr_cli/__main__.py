"""Run the command line with ``python -m cxr_cli``."""

from cxr_cli.cli.app import main

if __name__ == "__main__":
    main()
