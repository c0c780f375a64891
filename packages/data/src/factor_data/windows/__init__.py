"""Windows: for each sample the last bars of its symbol, gathered straight from the feature matrix, in batches."""

from factor_data.windows.augment import Augmentation
from factor_data.windows.batch import Batch
from factor_data.windows.dataset import WindowDataset
from factor_data.windows.prefetch import prefetch
from factor_data.windows.samples import SampleReport, session_codes
from factor_data.windows.source import BlockedMatrix
from factor_data.windows.texts import DocumentVectors

__all__ = [
    "Augmentation",
    "Batch",
    "BlockedMatrix",
    "DocumentVectors",
    "SampleReport",
    "WindowDataset",
    "prefetch",
    "session_codes",
]
