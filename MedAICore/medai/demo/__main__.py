"""``python -m medai.demo``."""

import sys

from medai.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
