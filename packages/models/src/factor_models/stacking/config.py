"""How models are combined: settings alone, which load nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

MetaLearner = Literal["auto", "equal", "shrunk", "icir", "non_negative", "ridge", "elastic_net", "exponential"]
"""Names of the meta learners (`factor_models.stacking.learners`), and `auto`, which chooses among them."""
LearnBy = Literal["ic", "auc"]
"""What a date says of a model: its correlation with the label, or its AUC for the label's direction."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """How the models' forecasts become one.

    Raises
    ------
    ValueError
        A number is out of its range; the message names field, value and rule.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    weights: MetaLearner = "auto"
    """Meta learner: equal (the mean of all models' ranks), shrunk (ridge towards equal), icir (mean over standard
    deviation of the IC), non_negative (ridge without negative weights), ridge, elastic_net, exponential (ridge on dates
    of which late ones weigh more); auto: the one that earlier dates favour, equal unless another is better by a
    standard error."""
    learn_by: LearnBy = "ic"
    """ic: weights, the choice of `auto` and what is pruned go by correlations with the label; auc: by the area under
    the ROC curve of each date's directions, up against down, 2 AUC - 1 in the place of the IC."""
    alpha: float = 0.1
    """Ridge penalty on squared error averaged per date, above 0; shrunk penalises the distance to equal weights."""
    l1: float = 0.1
    """Penalty of elastic_net on absolute weights, as a share of the largest IC, in [0, 1)."""
    half_life: float = 120.0
    """Dates after which a date counts half in exponential, above 0."""
    prune: float | None = None
    """Rank correlation above which the weaker of two models is left out of a fold, by what earlier folds showed of
    both, in (0, 1); null: none is."""

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        for name in ("alpha", "half_life"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0.0):
                raise ValueError(f"{name}: {value} must be > 0")
        if not 0.0 <= self.l1 < 1.0:
            raise ValueError(f"l1: {self.l1} must be in [0, 1)")
        if self.prune is not None and not 0.0 < self.prune < 1.0:
            raise ValueError(f"prune: {self.prune} must be in (0, 1), or null")
