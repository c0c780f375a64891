"""Losses by name: the settings of each, and a fresh one. Only the requested loss is imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from factor_models.checks import nearest
from factor_models.losses.entry import LossEntry
from factor_models.losses.settings import LossConfig
from factor_models.losses.table import LOSSES

if TYPE_CHECKING:
    from factor_models.losses.base import Loss


def loss_config(name: str) -> type:
    """The dataclass of a loss's settings; ValueError lists the names."""
    return _entry(name).config


def is_classification(name: str) -> bool:
    """Return True if the loss needs directions (1 up, 0 down) as targets; its forecasts are logits then."""
    return _entry(name).is_classification


def get_loss(name: str, targets: Sequence[str] = (), **settings: Any) -> Loss:
    """The loss of that name.

    Parameters
    ----------
    name : see `LOSSES`; ValueError for an unknown one names the nearest
    targets : names of the targets in the report ("h1", "h5"); a loss with settings per target needs them
    settings : fields of the loss's settings (`loss_config`), all with defaults

    Raises
    ------
    ValueError : unknown loss, unknown setting, a value that the settings refuse, or names of the targets missing

    >>> get_loss("huber", delta=0.5).outputs_per_target
    1
    """
    entry = _entry(name)
    schema = entry.config
    fields = [field.name for field in dataclasses.fields(schema)]
    if unknown := [key for key in settings if key not in fields]:
        raise ValueError(f"loss {name!r} has no setting {unknown[0]!r}: {nearest(unknown[0], fields)}")
    try:
        config = schema(**settings)
    except ValueError as error:
        raise ValueError(f"loss {name!r}: {error}") from error
    if not targets and (entry.is_per_target or config.target_weights is not None):
        raise ValueError(f"loss {name!r} has settings per target: it needs the names of the targets")
    if entry.term:
        return _of_term(name, entry, config, tuple(targets))
    return entry.function()(config, tuple(targets))


def _of_term(name: str, entry: LossEntry, config: LossConfig, targets: Sequence[str]) -> Loss:
    """One term with its settings, reported under the name of the loss."""
    from factor_models.losses.base import TermLoss

    fields = [field.name for field in dataclasses.fields(config) if field.name != "target_weights"]
    term = partial(entry.function(), **{field: getattr(config, field) for field in fields})
    return TermLoss({name: term}, config.weights_of(targets), targets)


def _entry(name: str) -> LossEntry:
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown: {nearest(name, LOSSES)}")
    return LOSSES[name]
