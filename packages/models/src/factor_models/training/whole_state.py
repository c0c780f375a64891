"""Weights and Adam's moments as whole fp32 tensors by name, whatever ZeRO has split them into.

That is what a checkpoint holds, so one written at any ZeRO stage by any number of processes is read at any other. The
functions know the wrappers that DeepSpeed puts around an optimizer (their attributes are its private matter: the
version is pinned, and the tests go through every stage and precision). All processes must call them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")


def whole_weight(optimizer: Any, parameter: Any) -> Tensor:
    """The fp32 weight on this process's device; without a copy in fp32 the parameter itself."""
    whole = _gathered(parameter, None)
    return _unpartitioned(optimizer, parameter).data if whole is None else whole


def whole_moments(optimizer: Any, parameter: Any) -> dict[str, Tensor]:
    """Adam's moments of a parameter; empty before the first step."""
    if num_updates(optimizer) == 0:
        return {}
    _link(optimizer)
    gathered = ((name, _gathered(parameter, name)) for name in MOMENTS)
    values = {name: value for name, value in gathered if value is not None}
    if len(values) < len(MOMENTS):
        state = _inner(optimizer).state.get(_unpartitioned(optimizer, parameter), {})
        values = {name: state[name] for name in MOMENTS}
    return values


def num_updates(optimizer: Any) -> int:
    """Steps that Adam has counted."""
    steps = [state["step"] for state in _inner(optimizer).state.values() if "step" in state]
    return int(steps[0]) if steps else 0


def set_whole_weights(optimizer: Any, weights: dict[Any, Tensor]) -> None:
    """Put fp32 weights in the place of those that were made from the network's rounded ones."""
    for parameter, value in weights.items():
        if _setter(parameter) is not None:
            _set(parameter, value, None)
        else:
            _unpartitioned(optimizer, parameter).data.copy_(value)


def forget_updates(optimizer: Any) -> None:
    """Undo the step of zeros with which some wrappers start Adam."""
    if hasattr(optimizer, "fp32_groups"):
        _inner(optimizer).state.clear()


def set_moments(optimizer: Any, moments: dict[Any, dict[str, Tensor]], steps: int) -> None:
    """Give a fresh optimizer the state of one that has taken `steps` steps (none: nothing is set)."""
    if steps == 0:
        return
    inner = _inner(optimizer)
    for flat in _flat_parameters(optimizer, inner):
        state = inner.state[flat]
        for name in MOMENTS:
            if name not in state:
                state[name] = torch.zeros_like(flat)
        state["step"] = _step_like(inner, flat, steps)
    _link(optimizer)
    for parameter, values in moments.items():
        for name, value in values.items():
            if _setter(parameter) is not None:
                _set(parameter, value, name)
            else:
                inner.state[_unpartitioned(optimizer, parameter)][name].copy_(value)


def loss_scale(optimizer: Any) -> dict[str, float]:
    """Numbers of fp16's loss scaler; empty without one that moves."""
    scaler = getattr(optimizer, "loss_scaler", None)
    names = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")
    if not getattr(scaler, "dynamic", False):
        return {}
    return {name: float(getattr(scaler, name)) for name in names}


def set_loss_scale(optimizer: Any, numbers: dict[str, float]) -> None:
    """Inverse of `loss_scale`."""
    for name, value in numbers.items():
        setattr(optimizer.loss_scaler, name, value if name == "cur_scale" else int(value))


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer inside DeepSpeed's wrapper."""
    return getattr(optimizer, "optimizer", optimizer)


def _link(optimizer: Any) -> None:
    """Let the parameters find their part of Adam's state: DeepSpeed does it after its first group's first step only."""
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()


def _flat_parameters(optimizer: Any, inner: torch.optim.Optimizer) -> Iterator[Tensor]:
    for name in (
        "fp32_partitioned_groups_flat",
        "single_partition_of_fp32_groups",
        "fp32_groups_flat_partition",
    ):
        if hasattr(optimizer, name):
            yield from getattr(optimizer, name)
            return
    for group in inner.param_groups:
        yield from group["params"]


def _step_like(inner: torch.optim.Optimizer, flat: Tensor, steps: int) -> Any:
    if not isinstance(inner, torch.optim.AdamW):
        return steps  # DeepSpeed's Adam counts in a whole number
    fused = inner.param_groups[0].get("fused")
    return torch.tensor(float(steps), device=flat.device if fused else "cpu")


def _gathered(parameter: Any, moment: str | None) -> Tensor | None:
    if hasattr(parameter, "ds_id"):
        return parameter._z3_optimizer.get_full_hp_param(parameter, moment)
    if hasattr(parameter, "_hp_mapping"):
        return parameter.get_full_hp_param(moment)
    return None


def _unpartitioned(optimizer: Any, parameter: Any) -> Tensor:
    """Return the tensor that Adam updates where nothing is partitioned: the parameter, or its fp32 copy."""
    if not hasattr(optimizer, "fp32_groups"):
        return parameter
    pairs = zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True)
    copies = {id(rounded): whole for group in pairs for rounded, whole in zip(*group, strict=True)}
    return copies.get(id(parameter), parameter)


def _setter(parameter: Any) -> Callable[..., None] | None:
    if hasattr(parameter, "ds_id"):
        return parameter._z3_optimizer.set_full_hp_param
    return getattr(parameter, "set_full_hp_param", None)


def _set(parameter: Any, value: Tensor, moment: str | None) -> None:
    if not hasattr(parameter, "ds_id"):
        parameter.set_full_hp_param(value, moment)
        return
    # ZeRO 3 cuts a weight into equal parts: the last one is longer than what is left of it.
    world_size = torch.distributed.get_world_size()
    flat = value.flatten()
    padding = -len(flat) % world_size
    _set_part(parameter, torch.cat([flat, flat.new_zeros(padding)]), moment)


def _set_part(parameter: Any, padded: Tensor, moment: str | None) -> None:
    optimizer = parameter._z3_optimizer
    part, group = optimizer._get_fp32_opt_state_partition(parameter, release_swap_buffers=False, optim_state_key=moment)
    rank = optimizer._get_param_partition_rank(parameter)
    part.data.copy_(padded.narrow(0, part.numel() * rank, part.numel()))
    if optimizer._swappable_optimizer_subgroup(group):
        optimizer._optimizer_states_and_gradient_swap_out(group)
