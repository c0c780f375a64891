from .apply import clean_bars as clean_bars
from .apply import clean_symbols as clean_symbols
from .apply import rule_hits as rule_hits
from .config import CleanRules as CleanRules
from .rules import ACTIONS as ACTIONS
from .rules import RULES as RULES
from .rules import Action as Action
from .rules import Rule as Rule
