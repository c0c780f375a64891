"""Settings of a reader: facts that the files do not contain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

# EXCHANGE_SYMBOL_30Y: the name under which vendors deliver so many years (or months, days) of a symbol
VENDOR_NAME = r"[A-Z]+_(?P<symbol>.+)_\d+[YMD]"


@dataclass(frozen=True, kw_only=True)
class ReadConfig:
    """Settings of the layouts whose files do not say everything."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    symbol_pattern: str | None = None
    """One file per symbol: regular expression with a group "symbol" that the file name, without its ending, must match.

    None: the part between exchange and years of EXCHANGE_SYMBOL_30Y, else the whole name.
    """
    factors: tuple[str, ...] | None = None
    """One file per day: the factor columns, in this order; None: all named by a number, or factor_<number>."""
    targets: tuple[str, ...] = ("intra30m", "nextT1d", "ema1d")
    """One file per day: the ready-made target columns, in this order."""
    frequency: str | None = None
    """qlib: which frequency to read where the folder holds several, as "day" or "5min"."""

    def __post_init__(self) -> None:
        for name in ("factors", "targets"):
            values = getattr(self, name)
            if values is not None and len(set(values)) < len(values):
                raise ValueError(f"{name} names a column twice: {list(values)}")
        if self.factors is not None and not self.factors:
            raise ValueError("factors must name at least one column, or be None for all")
        if self.symbol_pattern is not None:
            try:
                groups = re.compile(self.symbol_pattern).groupindex
            except re.error as error:
                raise ValueError(
                    f"symbol_pattern {self.symbol_pattern!r} is no regular expression ({error})"
                ) from error
            if "symbol" not in groups:
                raise ValueError(
                    f"symbol_pattern {self.symbol_pattern!r} has no group named symbol, as in "
                    r"'[A-Z]+_(?P<symbol>.+)'"
                )

    def symbol_of(self, path: str, stem: str) -> str:
        """Return the symbol that a file name stands for."""
        if self.symbol_pattern is None:
            vendor = re.fullmatch(VENDOR_NAME, stem)
            return vendor["symbol"] if vendor else stem
        found = re.fullmatch(self.symbol_pattern, stem)
        if not found or not found["symbol"]:
            raise ValueError(f"{path}: file name {stem!r} does not match symbol_pattern {self.symbol_pattern!r}")
        return found["symbol"]


DEFAULT_CONFIG = ReadConfig()
