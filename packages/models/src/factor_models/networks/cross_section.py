"""Parts of models of the whole cross-section: windows by date, the market of a date, attention among its stocks.

A batch holds the windows of several dates, each with any number of stocks. They are laid out as (G, S): a row per date,
padded with zeros to the most stocks of a date, and a mask that keeps the padding out of every sum. So one date never
sees another, the order of stocks does not matter, and a stock that is missing on a date is simply not there.

Shapes: B windows, L bars, F features, G dates, S most stocks of a date, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from factor_models.networks.blocks import attend


class DateLayout:
    """Position of each window of a batch when dates are rows.

    Parameters
    ----------
    groups_B : date of each window, any integers
    num_windows : B
    device : of what is laid out

    Attributes
    ----------
    date_B : row of each window
    mask_GS : True where there is a stock
    """

    def __init__(self, groups_B: Tensor, num_windows: int, device: torch.device) -> None:
        if tuple(groups_B.shape) != (num_windows,):
            raise ValueError(
                f"groups have shape {tuple(groups_B.shape)}: must be one date per window, ({num_windows},)"
            )
        _, self.date_B, count_G = torch.unique(groups_B, return_inverse=True, return_counts=True)
        self.num_dates, self.num_stocks = len(count_G), int(count_G.max())
        order_B = torch.argsort(self.date_B, stable=True)
        first_G = count_G.cumsum(0) - count_G
        place_B = torch.empty_like(order_B)
        place_B[order_B] = torch.arange(num_windows, device=device) - first_G[self.date_B[order_B]]
        self._cell_B = self.date_B * self.num_stocks + place_B
        self.count_G = count_G
        self.mask_GS = torch.arange(self.num_stocks, device=device) < count_G.unsqueeze(1)

    def by_date(self, x_B: Tensor) -> Tensor:
        """(B, ...) as (G, S, ...), zero where a date has no further stock."""
        cells = x_B.new_zeros(self.num_dates * self.num_stocks, *x_B.shape[1:])
        return cells.index_copy(0, self._cell_B, x_B).unflatten(0, (self.num_dates, self.num_stocks))

    def by_window(self, x_GS: Tensor) -> Tensor:
        """(G, S, ...) as (B, ...), in the order of the batch."""
        return x_GS.flatten(0, 1).index_select(0, self._cell_B)

    def of_window(self, x_G: Tensor) -> Tensor:
        """(G, ...) as (B, ...): what belongs to the date of each window."""
        return x_G.index_select(0, self.date_B)

    def mean(self, x_B: Tensor) -> Tensor:
        """Mean over the stocks of each date, (G, ...)."""
        total_G = x_B.new_zeros(self.num_dates, *x_B.shape[1:]).index_add(0, self.date_B, x_B)
        return total_G / self.count_G.to(x_B.dtype).view(-1, *[1] * (x_B.ndim - 1))

    def std(self, x_B: Tensor) -> Tensor:
        """Population standard deviation over the stocks of each date, (G, ...); not below 1e-3."""
        centred_B = x_B - self.of_window(self.mean(x_B))
        return (self.mean(centred_B.square()) + 1e-6).sqrt()


class OneDate(DateLayout):
    """The layout of a batch whose windows are all of one date: nothing is sorted, and there is no padding.

    It is made of operators that ONNX has too, for any number of windows. Sums are taken in another order than those of
    `DateLayout`, so the two agree up to rounding.

    Parameters
    ----------
    x_B : the windows (B, ...), by which their number is known
    """

    def __init__(self, x_B: Tensor) -> None:
        self.mask_GS = torch.ones_like(x_B.flatten(1)[:, 0], dtype=torch.bool).unsqueeze(0)

    def by_date(self, x_B: Tensor) -> Tensor:
        """(B, ...) as (1, B, ...)."""
        return x_B.unsqueeze(0)

    def by_window(self, x_GS: Tensor) -> Tensor:
        """(1, B, ...) as (B, ...)."""
        return x_GS.squeeze(0)

    def of_window(self, x_G: Tensor) -> Tensor:
        """(1, ...) as it is, to be broadcast over the windows."""
        return x_G

    def mean(self, x_B: Tensor) -> Tensor:
        """Mean over all windows, (1, ...)."""
        return x_B.mean(dim=0, keepdim=True)


def layout(groups_B: Tensor | None, x_B: Tensor) -> DateLayout:
    """Return the layout of windows (B, ...) by the date (B,) of each; None: all are of one date."""
    return OneDate(x_B) if groups_B is None else DateLayout(groups_B, len(x_B), x_B.device)


class StockAttention(nn.Module):
    """Multi-head attention among the stocks of a date (G, S, D); no stock looks at padding."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)  # a bias would cancel in the softmax
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x_GSD: Tensor, mask_GS: Tensor) -> Tensor:
        """Return what the stocks of each date attend to, (G, S, D); padding is not attended to."""
        mixed_GSD = attend(
            self.query(x_GSD), self.key(x_GSD), self.value(x_GSD), self.heads, mask=mask_GS[:, None, None]
        )
        return self.out(mixed_GSD)


def check_market_features(market_features: int, num_features: int) -> None:
    """A stock must keep a feature of its own."""
    if market_features >= num_features:
        raise ValueError(
            f"market_features = {market_features}: must be < num_features = {num_features}, or no feature of "
            "the stocks is left"
        )


def split_market(x_BLF: Tensor, market_features: int) -> tuple[Tensor, Tensor]:
    """The features of the stocks, and the last `market_features`, which describe an index and are the same for all."""
    own = x_BLF.shape[-1] - market_features
    return x_BLF[..., :own], x_BLF[..., own:]
