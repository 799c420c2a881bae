"""``python -m filiation.cli``."""

import sys

from filiation.cli import main

if __name__ == "__main__":
    sys.exit(main())
