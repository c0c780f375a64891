"""What a network is trained for. `get_loss(name)` makes a `Loss` from the table.

A term is a function `term(prediction (B, H), target (B, H), groups (B,), num_groups, weights (B,) or None) -> scalar`;
a `Loss` is a module that returns its weighted terms by name, so that every one of them can be logged.
"""

from factor_models.checks import nearest
from factor_models.losses.base import Loss, Term, TermLoss
from factor_models.losses.cross_section import ic, mse, mse_ic

LOSSES: dict[str, Term] = {
    "mse": mse,
    "ic": ic,
    "mse_ic": mse_ic,
}


def get_loss(name: str) -> Loss:
    """The loss of that name; ValueError lists the names."""
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is unknown: {nearest(name, LOSSES)}")
    return TermLoss({name: LOSSES[name]})


__all__ = ["LOSSES", "Loss", "Term", "TermLoss", "get_loss", "ic", "mse", "mse_ic"]
