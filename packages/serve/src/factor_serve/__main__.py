"""`python -m factor_serve` is the command `factor-serve`."""

from __future__ import annotations

import sys

from factor_serve.cli import main

sys.exit(main())
