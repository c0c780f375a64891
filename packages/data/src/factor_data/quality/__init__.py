"""The quality report: what each cleaning rule found and did, as data, as a page, and merged from parts."""

from factor_data.quality.coverage import Coverage
from factor_data.quality.report import Offender, QualityReport, RuleResult

__all__ = ["Coverage", "Offender", "QualityReport", "RuleResult"]
