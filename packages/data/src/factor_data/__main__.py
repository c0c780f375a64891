"""`python -m factor_data` is the command `factor-data`."""

from __future__ import annotations

import sys

from factor_data.cli import main

sys.exit(main())
