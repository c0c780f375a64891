"""The report of a run: plain data in, one self-contained HTML page out."""

from factor_metrics.report.data import (
    Attained,
    DateSeries,
    Diversity,
    FloorRow,
    Overfit,
    QualityRule,
    ReportData,
    ResultRow,
    RowCounts,
    WeightTable,
)
from factor_metrics.report.page import build_report

__all__ = [
    "Attained",
    "DateSeries",
    "Diversity",
    "FloorRow",
    "Overfit",
    "QualityRule",
    "ReportData",
    "ResultRow",
    "RowCounts",
    "WeightTable",
    "build_report",
]
