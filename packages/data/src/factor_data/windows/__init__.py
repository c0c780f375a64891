"""Windows: for each sample the last bars of its symbol, gathered straight from the feature matrix, in batches."""

from factor_data.windows.augment import Augmentation
from factor_data.windows.batch import Batch
from factor_data.windows.dataset import WindowDataset
from factor_data.windows.prefetch import prefetch
from factor_data.windows.samples import SampleReport, session_codes
from factor_data.windows.source import BlockedMatrix

__all__ = [
    "Augmentation",
    "Batch",
    "BlockedMatrix",
    "SampleReport",
    "WindowDataset",
    "prefetch",
    "session_codes",
]
