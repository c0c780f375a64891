"""Sizes that cannot fit this machine, found before any work: networks are drawn up on torch's meta device.

A lower bound is held against the memory of the machine: the weights alone of a network, once; the bars of the simulated
market. What is refused could not run; what is let through may still be too large for its batches, which training meets
by taking smaller pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

import psutil
import torch
from torch import nn

from factor_data import MarketConfig, expand_features
from factor_models import KLINE_MODELS, Kronos, KronosTokenizer, build_model, input_kind, model_sizes
from stages.params.reading import Params
from stages.running.stage import StageError

SURELY_FITS = 512
"""A network none of whose sizes is larger takes a few GiB at most and is not drawn up."""
DEPTHS = ("layers", "levels", "convolutions", "n_layers", "n_enc_layers", "n_dec_layers")
MOST_LAYERS = 256
MARKET_COLUMNS = 20
"""Numbers per bar that the simulation holds at a time, about."""


def check_sizes(params: Params) -> None:
    """StageError naming the key of the first size that no memory of this machine holds."""
    check_market(params.sample)
    for key, section, build in networks(params):
        check_depth(key, section)
        if any(size > SURELY_FITS for _, size in sizes_of(section)):
            check_weights(key, section, build)


def check_market(config: MarketConfig) -> None:
    """Refuse a simulated market that is larger than memory: it is made in one piece."""
    needed, memory = 8 * MARKET_COLUMNS * config.symbols * config.bars, total_memory()
    if needed > memory:
        raise StageError(
            f"params.yaml: sample.symbols: {config.symbols:,} times sample.bars: {config.bars:,} take "
            f"{in_gib(needed)}, this machine has {in_gib(memory)}: make fewer"
        )


def networks(params: Params) -> Iterator[tuple[str, Any, Callable[[], nn.Module]]]:
    """(key of its section, section, how to build it) of every network that a run would train."""
    for name in params.models:
        if name not in KLINE_MODELS and input_kind(name) != "last_bar":
            yield f"zoo.{name}", params.zoo[name].settings, partial(new_network, name, params)
    tokenizer = params.tokenize_kline.model
    for name in params.kline_models:
        yield "tokenize_kline.model", tokenizer, partial(KronosTokenizer, **tokenizer.arguments())
        arguments = params.zoo[name].settings.arguments(tokenizer.s1_bits, tokenizer.s2_bits)
        yield f"zoo.{name}", params.zoo[name].settings, partial(Kronos, **arguments)


def new_network(name: str, params: Params) -> nn.Module:
    """A network with the smallest inputs that it could have in this run."""
    known = {"num_tokens": params.tokenize.num_tokens + 1, "num_symbols": 2, "text_dim": 1}
    model = build_model(
        name,
        num_features=len(expand_features(params.tokenize.features or None)),
        num_horizons=len(params.tokenize.labels),
        **{size: known[size] for size in model_sizes(name)},
        **vars(params.zoo[name].settings),
    )
    assert isinstance(model, nn.Module)
    return model


def sizes_of(section: Any) -> Iterator[tuple[str, int]]:
    """(field, value) of the whole numbers of a section, and of the settings of a model inside it."""
    for field in fields(section):
        value = getattr(section, field.name)
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for key, size in inner:
            if isinstance(size, int) and not isinstance(size, bool):
                yield ".".join(filter(None, (field.name, key))), size


def check_depth(key: str, section: Any) -> None:
    """Refuse more layers than any network has: to draw them up would take for ever."""
    for field, depth in sizes_of(section):
        if field.rpartition(".")[2] in DEPTHS and depth > MOST_LAYERS:
            raise StageError(f"params.yaml: {key}.{field}: {depth} must be <= {MOST_LAYERS}")


def check_weights(key: str, section: Any, build: Callable[[], nn.Module]) -> None:
    """Refuse a network whose weights alone are larger than memory."""
    field, size = max(sizes_of(section), key=lambda one: one[1])
    what = f"params.yaml: {key}.{field}: {size:,} is too large: the weights of this network"
    try:
        with torch.device("meta"):
            needed = sum(4 * value.numel() for value in build().state_dict().values())
    except ValueError as error:
        raise StageError(f"params.yaml: {key}: {error}") from None
    except RuntimeError as error:  # torch counts bytes in 63 bits
        raise StageError(f"{what} cannot even be counted ({str(error).splitlines()[0]})") from None
    if needed > total_memory():
        raise StageError(f"{what} take {in_gib(needed)}, this machine has {in_gib(total_memory())}")


def total_memory() -> int:
    """Return the bytes of memory of this machine."""
    return int(psutil.virtual_memory().total)


def in_gib(num_bytes: float) -> str:
    """Return bytes as GiB in words."""
    return f"{num_bytes / 2**30:,.1f} GiB"
