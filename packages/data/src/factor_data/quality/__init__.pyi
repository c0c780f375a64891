from .coverage import Coverage as Coverage
from .report import Offender as Offender
from .report import QualityReport as QualityReport
from .report import RuleResult as RuleResult
