"""``python -m factor_data`` is the command ``factor-data``."""

import sys

from factor_data.cli import main

sys.exit(main())
