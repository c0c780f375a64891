"""Labels: forward returns, directions and ready-made targets; targets per date; counts of what is left out."""

from factor_data.labels.report import LabelReport, label_report
from factor_data.labels.returns import (
    Price,
    direction,
    forward_return,
    multi_step_direction,
    ready_made_targets,
)
from factor_data.labels.targets import TargetKind, check_labels, cross_sectional_target, neutralised

__all__ = [
    "LabelReport",
    "Price",
    "TargetKind",
    "check_labels",
    "cross_sectional_target",
    "direction",
    "forward_return",
    "label_report",
    "multi_step_direction",
    "neutralised",
    "ready_made_targets",
]
