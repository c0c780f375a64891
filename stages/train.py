"""train: one model, one fold after another; every prediction is out of fold. Networks go through DeepSpeed ZeRO.

`python -m stages.train lstm`. How many processes share the work is hardware, so it comes from the environment:
FACTORCAST_PROCESSES, by default one per GPU, else one.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from factor_data import FeatureStore, Fold, WindowDataset, read_folds
from factor_metrics import rank_ic, to_matrix
from factor_models import (
    NETWORKS,
    Engine,
    build_model,
    build_regressor,
    fit,
    get_loss,
    predict,
    save_model,
    set_seed,
)
from numpy.typing import NDArray

from stages.params import Params, read_params
from stages.progress import Progress
from stages.run import RESULTS, run, stage_output, write_json
