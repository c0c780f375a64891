"""Before a training: what would stop it later, or make it another one than was meant."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import torch
from packaging.requirements import Requirement

from factor_data import encoder_digest
from factor_models import Kronos, KronosTokenizer
from factor_models.training.optimizers import emulates_bf16
from stages.commands.checks.asked import Asked, NotYet
from stages.kline.bars import read_pretrained
from stages.planning.prerequisites import DATA, check_prerequisites
from stages.planning.sizes import check_sizes, in_gib, networks
from stages.running.environment import memory_budget
from stages.running.files import CACHE, CHECKPOINTS, MIN_FREE_BYTES, RESULTS, check_data, check_writable
from stages.running.stage import StageError
from stages.texts import check_encoder

DIRECT, LOCK = Path("requirements.in"), Path("requirements.lock")
COPIES_OF_DATA = 4
"""Panel, store, results and DVC's cache of them take about as much as the data each."""
TRAINED_TIMES = 4
"""A network that trains holds weights, gradients and Adam's two moments."""


def settings(asked: Asked) -> str:
    """Hold what `plan` would refuse against the machine: pretrained folders, sizes, files of features."""
    check_prerequisites(asked.params)
    return f"{len(asked.params.models)} models, labels {', '.join(asked.params.tokenize.labels)}"


def paths(asked: Asked) -> str:
    """Folders that a run writes to."""
    folders = (RESULTS, CHECKPOINTS, CACHE)
    for folder in folders:
        check_writable(folder)
    return f"{', '.join(map(str, folders))} can be written to"


def context(asked: Asked) -> str:
    """Lookback and reach of the labels against the context of K-line models; `read_params` refuses what is longer."""
    params = asked.params
    if not params.kline_models:
        raise NotYet("no K-line model is listed", never=True)
    needed = params.tokenize_kline.lookback + params.tokenize.reach
    said = [f"{name}: {params.zoo[name].settings.max_context}" for name in params.kline_models]
    return f"lookback {params.tokenize_kline.lookback} + reach {params.tokenize.reach} = {needed} <= {', '.join(said)}"


def pretrained(asked: Asked) -> str:
    """Folders of weights against the hashes that params.yaml has of them, before any data are read."""
    params = asked.params
    found = {}
    if params.kline_models and (value := params.tokenize_kline.pretrained) is not None:
        key = "tokenize_kline.pretrained"
        found[key] = read_pretrained(KronosTokenizer, key, value)[0].content_hash
    for name in params.kline_models:
        if (value := params.zoo[name].settings.pretrained) is not None:
            key = f"zoo.{name}.pretrained"
            found[key] = read_pretrained(Kronos, key, value)[0].content_hash
    if params.tokenize.reads_with_transformer and params.tokenize.news_vectors is not None:
        found["tokenize.news_vectors.folder"] = encoder_digest(check_encoder(params.tokenize.news_vectors))
    if not found:
        raise NotYet("none is named: training starts from random weights", never=True)
    return ", ".join(f"{key} {digest[:12]}" for key, digest in found.items())


def libraries(asked: Asked) -> str:
    """Versions of direct dependencies against requirements.lock; a local part such as +cpu does not count."""
    direct = [one.name for one in pins_here(DIRECT)]
    locked = {one.name: str(one.specifier).removeprefix("==") for one in pins_here(LOCK)}
    versions = {name: locked.get(re.sub(r"[-_.]+", "-", name), "nowhere").partition("+")[0] for name in direct}
    installed = {name: version_of(name) for name in direct}
    other = [name for name in direct if installed[name] != versions[name]]
    if other:
        said = "; ".join(f"{name} {installed[name]}, locked {versions[name]}" for name in other[:3])
        raise StageError(f"{len(other)} differ from {LOCK}: {said}: make install")
    return f"{len(direct)} of {DIRECT} as {LOCK} has them"


def pins_here(path: Path) -> list[Requirement]:
    """Return the lines of a file of requirements that hold on this system and Python, without their digests."""
    lines = re.findall(r"^[\w.-]+[^#\\\n]*", path.read_text(encoding="utf-8"), re.MULTILINE)
    pins = [Requirement(line.strip()) for line in lines]
    return [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]


def version_of(name: str) -> str:
    """Return the installed version without its local part."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return "is not installed"


def data(asked: Asked) -> str:
    """The bars, and that every file is what was written."""
    files = sorted((DATA / "bars").glob("*.parquet"))
    if not files:
        raise NotYet(f"{DATA}/ has no bars yet: dvc repro makes the simulated market, make use-data brings yours")
    check_data(DATA)
    num_rows = sum(pq.read_metadata(file).num_rows for file in files)
    if not num_rows:
        raise StageError(f"{DATA / 'bars'}: holds no bar")
    return f"{num_rows:,} bars in {len(files)} files, as written"


def disk(asked: Asked) -> str:
    """Free space against a few times the data."""
    size = sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file())
    needed, free = MIN_FREE_BYTES + COPIES_OF_DATA * size, shutil.disk_usage(RESULTS.absolute().parent).free
    if free < needed:
        raise StageError(f"{in_gib(free)} are free, a run takes about {in_gib(needed)}: free some space")
    return f"{in_gib(free)} are free, a run takes about {in_gib(needed)}"


def memory(asked: Asked) -> str:
    """What is available against the budget of the data and the largest network with its gradients and moments."""
    check_sizes(asked.params)
    largest = 0
    for _, _, build in networks(asked.params):
        with torch.device("meta"):
            largest = max(largest, sum(value.numel() * value.element_size() for value in build().state_dict().values()))
    needed, available = memory_budget() + TRAINED_TIMES * largest, psutil.virtual_memory().available
    if available < needed:
        raise StageError(
            f"{in_gib(available)} are available, data and the largest network take {in_gib(needed)}: lower "
            "FACTORCAST_MEMORY_MB, end other programs, or make the network smaller"
        )
    return f"{in_gib(available)} are available, data and the largest network take {in_gib(needed)}"


def device(asked: Asked) -> str:
    """Precision against the device."""
    has_gpu = torch.cuda.is_available()
    trainings = {f"zoo.{name}.train": asked.params.train_of(name).precision for name in asked.networks}
    if asked.params.kline_models:
        trainings["tokenize_kline"] = asked.params.tokenize_kline.precision
    if half := [key for key, precision in trainings.items() if precision == "fp16" and not has_gpu]:
        raise StageError(f"{half[0]}.precision: fp16 needs a GPU, and there is none; use bf16 or fp32")
    if has_gpu:
        return f"{torch.cuda.device_count()} GPUs"
    slow = [key for key, precision in trainings.items() if precision == "bf16" and emulates_bf16()]
    said = f"; {', '.join(slow)}: bf16 is several times slower than fp32 on this CPU" if slow else ""
    return f"no GPU, {psutil.cpu_count()} cores{said}"


def onnx(asked: Asked) -> str:
    """Return whether `factor-serve export --onnx` can make graphs here, before anything is trained."""
    if lacking := [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]:
        raise NotYet(f"not exported: {' and '.join(lacking)} not installed (factor-serve[onnx])", never=True)
    return f"graphs can be made of all {len(asked.params.models)} models and of their stack"


CHECKS: dict[str, Callable[[Asked], str]] = {
    "settings": settings,
    "paths": paths,
    "context": context,
    "pretrained weights": pretrained,
    "libraries": libraries,
    "data": data,
    "disk": disk,
    "memory": memory,
    "device": device,
    "onnx": onnx,
}
