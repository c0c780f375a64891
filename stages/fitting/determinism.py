"""Reproducibility of two runs."""

from __future__ import annotations

import torch


def set_determinism(level: str) -> None:
    """`bitwise`: two runs give the same bytes. `fast`: kernels may be chosen by speed, and TF32 used (GPU only)."""
    if not torch.cuda.is_available():
        return  # on a CPU what the models use is deterministic anyway, and the switch takes seconds to load
    bitwise = level == "bitwise"
    torch.use_deterministic_algorithms(bitwise)
    torch.backends.cudnn.benchmark = not bitwise
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not bitwise
