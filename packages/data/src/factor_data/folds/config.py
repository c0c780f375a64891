"""How folds are made, as one section of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_args

from factor_data.folds.cut import check_labels_apart, check_lengths, check_purge
from factor_data.folds.fold import SEGMENTS, Dates, Fold, FoldList
from factor_data.folds.purged import combinatorial_purged
from factor_data.folds.schemes import DateRange, check_shares, fixed_dates, ratio, walk_forward, yearly

Scheme = Literal["rolling", "expanding", "yearly", "fixed", "ratio", "cpcv"]

# scheme -> the fields it must be given, the fields it may be given
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "rolling": (("train", "valid", "test", "step"), ()),
    "expanding": (("train", "valid", "test", "step"), ()),
    "yearly": (("min_train_years", "valid_months"), ("max_train_years",)),
    "fixed": (("train_range", "test_range"), ("valid_range",)),
    "ratio": (("ratios",), ()),
    "cpcv": (("num_groups", "num_test_groups"), ("valid_groups",)),
}


@dataclass(frozen=True, kw_only=True)
class FoldConfig:
    """How a calendar is cut into folds. Lengths are numbers of dates (bars of the calendar).

    A scheme takes the fields named after it, and refuses the others'.
    """

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}

    scheme: Scheme
    """How the calendar is cut; which of the fields below are needed depends on it."""
    purge: int | None = None
    """All schemes: dates left out between segments; None: the longest reach of a label, the least that is accepted."""
    embargo: int | None = None
    """All schemes: dates after a test range that later training leaves out; None: as many as purge for cpcv, else 0."""
    min_train: int = 1
    """All schemes: fewest training dates that a fold may have once purge and embargo are taken out."""
    min_valid: int = 1
    """All schemes: fewest validation dates, as `min_train`."""
    min_test: int = 1
    """All schemes: fewest test dates, as `min_train`."""
    train: int | None = None
    """rolling, expanding: training dates."""
    valid: int | None = None
    """rolling, expanding: validation dates; 0: nothing validates, which a run of the pipeline refuses."""
    test: int | None = None
    """rolling, expanding: test dates."""
    step: int | None = None
    """rolling, expanding: dates from one fold to the next."""
    max_train_years: int | None = None
    """yearly: most calendar years of history before the test year."""
    min_train_years: int | None = None
    """yearly: fewest calendar years of history before the test year."""
    valid_months: int | None = None
    """yearly: months at the end of the history that validate, 0 for none."""
    train_range: DateRange | None = None
    """fixed: first and last training date, both included."""
    valid_range: DateRange | None = None
    """fixed: first and last validation date, both included; None: nothing validates."""
    test_range: DateRange | None = None
    """fixed: first and last test date, both included."""
    ratios: tuple[float, float, float] | None = None
    """ratio: shares of the dates for train, valid and test; where test has 0, the later half of valid is tested."""
    num_groups: int | None = None
    """cpcv: groups of dates that the calendar is cut into."""
    num_test_groups: int | None = None
    """cpcv: groups that are tested at a time."""
    valid_groups: int | None = None
    """cpcv: groups that validate, 0 or 1; None: 1."""

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            raise ValueError(f"scheme must be one of {get_args(Scheme)}, got {self.scheme!r}")
        required, optional = FIELDS[self.scheme]
        if missing := [name for name in required if getattr(self, name) is None]:
            raise ValueError(f"scheme {self.scheme} needs {', '.join(missing)}")
        every = {name for group in FIELDS.values() for names in group for name in names}
        foreign = every - {*required, *optional}
        if given := [f.name for f in fields(self) if f.name in foreign and getattr(self, f.name) is not None]:
            raise ValueError(f"scheme {self.scheme} has no {', '.join(given)}")
        lengths = {name: getattr(self, name) for name in ("purge", "embargo", "train", "valid", "test", "step")}
        check_lengths(**{name: value for name, value in lengths.items() if value is not None})
        if self.ratios is not None:
            check_shares(self.ratios)
        check_lengths(min_train=self.min_train, min_valid=self.min_valid, min_test=self.min_test)

    @property
    def has_valid(self) -> bool:
        """Whether some dates are to validate."""
        no_share = self.ratios is not None and self.ratios[1] == 0
        no_range = self.scheme == "fixed" and self.valid_range is None
        return not (0 in (self.valid, self.valid_months, self.valid_groups) or no_share or no_range)


def make_folds(dates: Dates, config: FoldConfig, *, reach: int) -> FoldList:
    """Cut a calendar into folds as the configuration says.

    Parameters
    ----------
    dates : (num_dates,) datetime64, sorted and unique
    config : FoldConfig
    reach : dates after t that a label of t is made of, the most of all labels (`longest_reach`): the least purge

    Returns
    -------
    FoldList, at least one fold; no label of a segment takes a price of another segment of its fold

    Raises
    ------
    ValueError if the purge is too small, a segment too short, or the dates do not suffice
    """
    purge = reach if config.purge is None else config.purge
    check_purge(purge, reach)
    embargo = config.embargo if config.embargo is not None else (purge if config.scheme == "cpcv" else 0)
    folds = _cut(dates, config, purge, embargo)
    _check_long_enough(folds, config)
    check_labels_apart(folds, dates, reach)
    return folds


def _cut(dates: Dates, config: FoldConfig, purge: int, embargo: int) -> FoldList:
    given = {name: getattr(config, name) for names in FIELDS[config.scheme] for name in names}
    match config.scheme:
        case "rolling" | "expanding":
            expanding = config.scheme == "expanding"
            return walk_forward(dates, **given, purge=purge, embargo=embargo, expanding=expanding)
        case "yearly":
            return yearly(dates, **given, min_test=config.min_test, purge=purge, embargo=embargo)
        case "fixed":
            ranges = (given["train_range"], given["valid_range"], given["test_range"])
            return fixed_dates(dates, *ranges, purge=purge, embargo=embargo)
        case "ratio":
            return ratio(dates, given["ratios"], purge=purge, embargo=embargo)
        case "cpcv":
            given["valid_groups"] = 1 if config.valid_groups is None else config.valid_groups
            return combinatorial_purged(dates, **given, purge=purge, embargo=embargo)


def _check_long_enough(folds: Sequence[Fold], config: FoldConfig) -> None:
    for fold in folds:
        for segment in SEGMENTS:
            fewest, found = getattr(config, f"min_{segment}"), len(fold.dates(segment))
            if segment == "valid" and not config.has_valid:
                continue
            if found < fewest:
                raise ValueError(
                    f"fold {fold.index}: {segment} has {found} dates after purge and embargo, min_{segment} is {fewest}"
                )
