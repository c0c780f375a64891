"""evaluate: one model's out-of-fold predictions judged per horizon, with floors that need no model beside it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from factor_data import FeatureStore
from factor_metrics import Evaluation, evaluate_predictions, random_ranking, to_matrix
from numpy.typing import NDArray

from stages.params import read_params
from stages.run import RESULTS, run, stage_output, write_json
