"""Models of the last bar alone: fitted in one call on a table of features, no gradient, no DeepSpeed."""

from factor_models.tabular.base import Table, TabularModel

__all__ = ["Table", "TabularModel"]
