"""Cleaning: stated rules, each counted, each set to drop, mask or flag; nothing is filled or invented."""

from factor_data.cleaning.apply import clean_bars, clean_symbols, rule_hits
from factor_data.cleaning.config import CleanRules
from factor_data.cleaning.rules import ACTIONS, RULES, Action, Rule

__all__ = ["ACTIONS", "RULES", "Action", "CleanRules", "Rule", "clean_bars", "clean_symbols", "rule_hits"]
