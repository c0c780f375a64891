"""What the stages evaluate and stack write, read back as rows: for the terminal table and the PNG."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from factor_metrics.json_document import read_document
from factor_metrics.judging.scores import Scores
from factor_metrics.report.data import FloorRow, ResultRow, finite


@dataclass(frozen=True, kw_only=True)
class FolderResults:
    """The scores of one folder, and the forecasts beside their floors."""

    title: str
    rows: tuple[ResultRow, ...]
    floors: tuple[FloorRow, ...]
    promoted: bool | None = None
    """The verdict of the gates; None for a single model."""

    @property
    def labels(self) -> list[str]:
        """Every label, in the order of the rows."""
        return list(dict.fromkeys(row.label for row in self.rows))

    def best_floor(self, label: str) -> ResultRow | None:
        """Return the floor with the highest rank IC for a label, None where there is none."""
        known = [row for row in self.rows if row.kind == "floor" and row.label == label]
        defined = [row for row in known if finite(row.scores.rank_ic) is not None]
        return max(defined or known, key=lambda row: row.scores.rank_ic, default=None)

    def beside_best_floor(self, row: ResultRow) -> FloorRow | None:
        """Return the comparison of a forecast with the best floor of its label, None where there is none."""
        best = self.best_floor(row.label)
        for pair in self.floors:
            if best and (pair.name, pair.label, pair.floor) == (row.name, row.label, best.name):
                return pair
        return None


def read_results(path: Path) -> list[FolderResults]:
    """Return the results of a model's folder, of the stack's, or of all models' folders below `path`.

    Raises
    ------
    ValueError
        The folder holds none of these, or a file in it is not what the stages write.
    """
    if (path / "comparison.json").is_file():
        return [_read_stack(path)]
    if (path / "metrics.json").is_file() and (path / "floors.json").is_file():
        return [_read_model(path)]
    found = sorted(child for child in path.glob("*") if (child / "floors.json").is_file())
    if not found:
        raise ValueError(
            f"{path} holds no results: give a model's folder (metrics.json, floors.json), the stack's "
            "(comparison.json), or the folder above them"
        )
    return [results for child in found for results in read_results(child)]


def _read_stack(path: Path) -> FolderResults:
    document = _json(path / "comparison.json")
    gates = _json(path / "gates.json")
    floors = _json(path / "floors.json")
    try:
        return FolderResults(
            title=path.name,
            rows=tuple(ResultRow.of(item) for item in document),
            floors=tuple(_floor_row(item) for item in floors),
            promoted=bool(gates["promoted"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not what the stage stack writes ({error!r})") from None


def _read_model(path: Path) -> FolderResults:
    metrics, floors = _json(path / "metrics.json"), _json(path / "floors.json")
    rows, pairs = [], []
    try:
        for label, scores in metrics.items():
            below = any(floor["model_is"] == "below" for floor in floors[label].values())
            rows.append(
                ResultRow(
                    name=path.name,
                    kind="model",
                    label=label,
                    scores=Scores.of(scores),
                    below_floor=below,
                )
            )
            for name, floor in floors[label].items():
                rows.append(ResultRow(name=name, kind="floor", label=label, scores=Scores.of(floor)))
                pairs.append(
                    FloorRow(
                        name=path.name,
                        floor=name,
                        label=label,
                        rank_ic=scores["rank_ic"],
                        floor_rank_ic=floor["rank_ic"],
                        difference=floor["difference"],
                        low=floor["difference_low"],
                        high=floor["difference_high"],
                    )
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not what the stage evaluate writes ({error!r})") from None
    return FolderResults(title=path.name, rows=tuple(rows), floors=tuple(pairs))


def _floor_row(document: dict[str, Any]) -> FloorRow:
    """Return a row from the keys that it knows."""
    known = {item.name for item in fields(FloorRow)}
    return FloorRow(**{key: value for key, value in document.items() if key in known})


def _json(path: Path) -> Any:
    return read_document(path)
