"""``python -m edgeexit`` is the command ``edgeexit``."""

from __future__ import annotations

import sys

from edgeexit.cli import main

if __name__ == "__main__":
    sys.exit(main())
