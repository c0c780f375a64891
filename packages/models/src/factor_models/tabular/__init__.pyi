from .base import Table as Table
from .base import TabularModel as TabularModel
from .cross_fit import cross_fit_rows as cross_fit_rows
