"""`python -m curation`, and the script `pairwright`."""

import sys

from curation.cli.app import main


def run() -> None:
    """Run a command and end the process with its status."""
    sys.exit(main())


if __name__ == "__main__":
    run()
