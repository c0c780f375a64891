"""Draws that series share, so that differences between series are not differences of luck.

The mean of a few random paths is mostly noise, and a ranking of series by it is a ranking of their noise. So all series
take the same uniform numbers, and at each bar the samples of a series take one number of each of S equal parts of
(0, 1): stratified sampling with common random numbers (Glasserman, 2004, Monte Carlo Methods in Financial Engineering,
sections 4.2 and 4.3). A number is turned into a token by the inverse of the distribution function, tokens being ordered
by the close they stand for. Each path alone has exactly the model's distribution; the samples of a series are not
independent of each other. What a series is given does not depend on which others are in its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from factor_models.kline.sampling import token_at
from factor_models.kline.tokenizer import KronosTokenizer

CLOSE = 3  # column of the bars


class CoupledDraws:
    """Tokens of `num_series` series with `num_samples` samples each, N = num_series * num_samples rows.

    Parameters
    ----------
    orders : for s1 and for s2, the tokens from the lowest to the highest close
    generator : of the uniform numbers; None: torch's global one
    """

    def __init__(
        self,
        num_bars: int,
        num_samples: int,
        orders: tuple[Tensor, Tensor],
        generator: torch.Generator | None,
        device: torch.device,
        num_series: int,
    ) -> None:
        shape = (num_bars, 2, num_samples)
        part = torch.rand(shape, generator=generator, device=device).argsort(-1)
        self.uniform = (part + torch.rand(shape, generator=generator, device=device)) / num_samples
        self.orders = orders
        self._uniform_of_row = self.uniform.repeat(1, 1, num_series).unsqueeze(-1)

    def draw(self, probability_NV: Tensor, bar: int, part: int) -> Tensor:
        """One token (N, 1) of each row; part 0 is s1, 1 is s2."""
        order = self.orders[part]
        cumulative = probability_NV.index_select(-1, order).cumsum(-1)
        return order[token_at(cumulative, self._uniform_of_row[bar, part])]


@torch.no_grad()
def close_order(tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
    """The tokens of s1 and of s2 by the close of a lone bar, lowest first; the other token's bits are left at 0."""
    bits = (tokenizer.s1_bits, tokenizer.s2_bits)
    orders = []
    for part, size in enumerate(bits):
        code = torch.zeros(2**size, 1, tokenizer.codebook_dim, device=tokenizer.embed.weight.device)
        first = part * tokenizer.s1_bits
        index = torch.arange(2**size, device=code.device)
        sign = ((index[:, None] >> torch.arange(size, device=code.device)) & 1) * 2.0 - 1.0
        code[:, 0, first : first + size] = sign * tokenizer.codebook_dim**-0.5
        orders.append(tokenizer.decode_codes(code.to(tokenizer.embed.weight.dtype))[:, 0, CLOSE].argsort(stable=True))
    return orders[0], orders[1]
