"""The quality report as data: per rule what it does, how often it hit and where first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from factor_data.inline import inline_html, inline_table
from factor_data.labels.report import LabelReport
from factor_data.quality.coverage import Coverage
from factor_data.quality.page import quality_page

NUM_OFFENDERS = 5
OUT_OF_UNIVERSE = "marked out of universe"


@dataclass(frozen=True, kw_only=True)
class Offender:
    """One value a rule found; `value` is None where it is missing or not finite."""

    timestamp: str
    symbol: str
    column: str
    value: float | None


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """Search, action and findings of one rule.

    `action` is drop, mask or flag, and `effect` says it in words. `share` is the count over the bars read, or
    over the symbols where `unit` is symbols. `offenders` are the first in time, then by symbol.
    """

    name: str
    description: str
    action: str
    effect: str
    unit: str
    count: int
    share: float
    offenders: tuple[Offender, ...]


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """Findings and actions of cleaning."""

    rules: tuple[RuleResult, ...]
    settings: dict[str, Any]
    coverage: Coverage

    def __repr__(self) -> str:
        said = self.summary
        hit = sum(rule.count > 0 for rule in self.rules)
        return (
            f"QualityReport({said['bars_in']:,} bars in, {said['bars_out']:,} left, "
            f"{said['bars_in_universe']:,} in the universe, {hit} of {len(self.rules)} rules hit)"
        )

    def _repr_html_(self) -> str:
        rows = [
            [rule.name, rule.count, f"{rule.share:.2%}", rule.effect, rule.description]
            for rule in self.rules
            if rule.count
        ]
        facts = {name.replace("_", " "): value for name, value in self.summary.items()}
        table = inline_table(["rule", "hits", "share", "what was done", "what it looks for"], rows)
        return inline_html("QualityReport", facts, table)

    @property
    def summary(self) -> dict[str, int | str]:
        """Bars, symbols and dates before and after."""
        return self.coverage.summary()

    def count(self, name: str) -> int:
        """Return how often a rule fired."""
        counts = {rule.name: rule.count for rule in self.rules}
        if name not in counts:
            raise ValueError(f"no rule {name!r}; there are {list(counts)}")
        return counts[name]

    def check_not_empty(self) -> None:
        """Refuse a cleaning that left no bar."""
        if self.summary["bars_out"] == 0:
            raise ValueError(f"none of {self.summary['bars_in']} bars is left: {self._largest_drops()}")

    def _largest_drops(self) -> str:
        drops = [rule for rule in self.rules if rule.action == "drop" and rule.count]
        said = (
            f"{rule.name} dropped {rule.count} ({rule.description}); to keep such bars: "
            f"clean.actions: {{{rule.name}: mask}}"
            for rule in drops
        )
        return "; ".join(said) or "no bars"

    def largest_masks(self) -> list[RuleResult]:
        """The rules that took bars out of the universe, most first."""
        masks = [rule for rule in self.rules if rule.effect == OUT_OF_UNIVERSE and rule.count]
        return sorted(masks, key=lambda rule: -rule.count)

    @classmethod
    def merge(cls, parts: Sequence[QualityReport]) -> QualityReport:
        """Put together the reports on parts of a panel, each with all bars of some of its symbols.

        The result equals the report on the whole panel. ValueError if the parts were made by different rules,
        calendars or symbol tables, or there are none.
        """
        if not parts:
            raise ValueError("merge needs at least one report")
        for part in parts[1:]:
            if part.settings != parts[0].settings:
                raise ValueError("parts of a report must be made by the same rules")
        coverage = Coverage.merge([part.coverage for part in parts])
        return cls(
            rules=tuple(_merge_rule(same, coverage) for same in zip(*(part.rules for part in parts), strict=True)),
            settings=parts[0].settings,
            coverage=coverage,
        )

    def to_dict(self, universe: str | None = None, labels: Sequence[LabelReport] = ()) -> dict[str, Any]:
        """Return plain data for JSON, without NaN.

        `universe` says how the symbols were picked, `labels` how many rows each label uses and leaves out.
        """
        return {
            "summary": self.summary,
            "universe": universe,
            "settings": dict(self.settings),
            "rules": [asdict(rule) | {"offenders": [asdict(o) for o in rule.offenders]} for rule in self.rules],
            "missing_values": {
                name: {"read": read, "left": left} for name, (read, left) in self.coverage.missing_values.items()
            },
            "missing_bars": self.coverage.heat_map(),
            "labels": [label.to_dict() for label in labels],
        }

    def to_html(
        self,
        title: str = "Data quality",
        universe: str | None = None,
        labels: Sequence[LabelReport] = (),
        fold_picture: str = "",
    ) -> str:
        """Return one self-contained page; all text from the data is escaped. `fold_picture` is an SVG."""
        return quality_page(self.to_dict(universe, labels), title, fold_picture)


def share_of(count: int, total: int) -> float:
    """Return count over total, 0.0 of nothing."""
    return count / total if total else 0.0


def _merge_rule(same: Sequence[RuleResult], coverage: Coverage) -> RuleResult:
    count = sum(result.count for result in same)
    offenders = sorted(
        (offender for result in same for offender in result.offenders),
        key=lambda offender: (offender.timestamp, offender.symbol),
    )
    return replace(
        same[0],
        count=count,
        share=share_of(count, coverage.symbols_read if same[0].unit == "symbols" else coverage.bars_read),
        offenders=tuple(offenders[:NUM_OFFENDERS]),
    )
