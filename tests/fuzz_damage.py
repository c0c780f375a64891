"""Files damaged byte by byte, drawn from a seed: what is read is what was written, or is refused in a line.

JSON is also forged: a key goes or a value has another type, and the digests that vouch for it agree. What is read then
may be anything, but where it is refused the line names the file.

`make fuzz` runs the long form, with every stage as a user starts it; tests/stages/test_damage.py a short one.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from factor_data import FeatureStore, Panel, read_bars, read_folds, read_parquet
from factor_data.atomic import canonical_json
from factor_data.fit.fitted import content_hash as fitted_hash
from factor_data.sums import SUMS, checked, file_sha256, write_sums
from factor_models import FitState, RunFolder, build_model, load_model, save_model, set_seed
from factor_models.checkpoints import CONFIG_HASH, METADATA_HASH, content_hash
from factor_models.kline import KronosTokenizer
from factor_models.tabular.base import Table
from factor_models.training.states import EngineState
from factor_serve.bundle import HASH, MANIFEST, load_bundle
from factor_serve.canary import canary_forecasts, canary_rows
from stages.running.files import check_data
from stages.running.stage import describe
from workplace import Workplace, make_workplace, smoke_document

OUTCOMES = ("as written", "refused", "BELIEVED", "TRACEBACK", "UNNAMED")
STAGES = (
    ("tokenize_features", ()),
    ("tokenize_kline", ()),
    ("inputs", ()),
    ("train", ("linear",)),
    ("train", ("lightgbm",)),
    ("evaluate", ("linear",)),
    ("evaluate", ("lightgbm",)),
    ("stack", ()),
    ("report", ("linear",)),
    ("report_stack", ()),
)
UNREAD = (".html", ".md", ".yaml", ".csv", ".tsv")  # pages and tables for people; dataset.yaml may be edited
READ_BY = {
    "data": ["split"],
    "split": ["tokenize_features", "train", "evaluate", "stack", "report", "report_stack"],
    "tokenize": ["train", "evaluate", "stack"],
    "tokenize_kline": ["inputs"],
    "train": ["evaluate", "stack", "report"],
    "evaluate": ["stack", "report"],
    "stack": ["report_stack"],
    "plan": [name for name, _ in STAGES],
}


@dataclass(frozen=True)
class Kept:
    """Something on disk, how it is read, and the digests of what may come out."""

    name: str
    folder: Path
    read: Callable[[Path], Any]
    allowed: frozenset[str]


def kept(name: str, folder: Path, read: Callable[[Path], Any], also: Iterable[Any] = ()) -> Kept:
    return Kept(name, folder, read, frozenset([digest(read(folder)), *map(digest, also)]))


def digest(value: Any) -> str:
    """One text for equal content of arrays, tensors, frames and what holds them."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return sha256(repr((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, pd.DataFrame):
        return digest({str(name): value[name].astype(str).tolist() for name in value})
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return sha256(repr([(key, digest(one)) for key, one in value.items()]).encode()).hexdigest()
    if isinstance(value, list | tuple):
        return sha256(repr([digest(one) for one in value]).encode()).hexdigest()
    return repr(value)


def damage(path: Path, draw: random.Random) -> None:
    """Flip a bit, overwrite, cut, lengthen, exchange or empty: what disks, copies and hands do."""
    content = bytearray(path.read_bytes())
    at, size = draw.randrange(max(len(content), 1)), draw.randint(1, 64)
    way = draw.choice(["bit", "bit", "byte", "noise", "zeros", "cut", "more", "swap", "empty", "gone"])
    if way == "gone":
        path.unlink()
        return
    if way == "bit" and content:
        content[at] ^= 1 << draw.randrange(8)
    elif way == "byte" and content:
        content[at] = draw.randrange(256)
    elif way == "noise":
        content[at : at + size] = draw.randbytes(size)
    elif way == "zeros":
        content[at : at + size] = bytes(len(content[at : at + size]))
    elif way == "cut":
        del content[at:]
    elif way == "more":
        content += draw.randbytes(size)
    elif way == "swap":
        content = content[at:] + content[:at]
    elif way == "empty":
        content.clear()
    path.write_bytes(content)


def attack(target: Kept, rounds: int, draw: random.Random) -> Counter[str]:
    """Damage one of its files at a time, read, and put the file back."""
    files = sorted(path for path in target.folder.rglob("*") if path.is_file())
    found: Counter[str] = Counter()
    for _ in range(rounds):
        path = draw.choice(files)
        whole = {one: one.read_bytes() for one in files}
        damage(path, draw)
        try:
            found["as written" if digest(target.read(target.folder)) in target.allowed else "BELIEVED"] += 1
        except Exception as error:
            found[judged(error, target.folder)] += 1
        for one, content in whole.items():
            if not one.exists() or one.read_bytes() != content:
                one.write_bytes(content)
    return found


OTHERS = (None, True, -1, 1e300, "", "\0", "a", [], {}, [[]], {"a": None})
"""Values in the place of those that were written."""


def forge(path: Path, draw: random.Random) -> None:
    """Take a key out of a JSON file or put another value there, with digests that agree."""
    document = json.loads(path.read_bytes())
    places = list(places_of(document))
    if not places or draw.random() < 0.05:
        document = draw.choice(OTHERS)
    else:
        held, key = draw.choice(places)
        if draw.random() < 0.5:
            del held[key]
        else:
            held[key] = draw.choice(OTHERS)
    own = {"metadata.json": (METADATA_HASH, content_hash), MANIFEST: (HASH, manifest_hash)}
    name, digest_of = own.get(path.name, ("hash", fitted_hash))
    if isinstance(document, dict) and name in document:
        document[name] = digest_of({key: value for key, value in document.items() if key != name})
    path.write_text(json.dumps(document))
    if path.name == "config.json" and (metadata := path.with_name("metadata.json")).is_file():
        beside = json.loads(metadata.read_bytes()) | {CONFIG_HASH: file_sha256(path)}
        beside[METADATA_HASH] = content_hash({key: value for key, value in beside.items() if key != METADATA_HASH})
        metadata.write_text(json.dumps(beside))
    vouching = next((one for one in path.parents if (one / SUMS).is_file()), None)
    if vouching is not None and path.name != SUMS:
        write_sums(vouching)


def manifest_hash(content: dict[str, Any]) -> str:
    return sha256(canonical_json(content).encode()).hexdigest()


def places_of(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every object, and every place of every list, down to the leaves; of long lists the first."""
    for key in list(document)[:50] if isinstance(document, dict) else range(min(len(document), 3)):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places_of(document[key])


def attack_forged(target: Kept, rounds: int, draw: random.Random) -> Counter[str]:
    """Forge one of its JSON files at a time, read, and put the files back."""
    files = sorted(path for path in target.folder.rglob("*") if path.is_file())
    found: Counter[str] = Counter()
    forged = [path for path in files if path.suffix == ".json"]
    for _ in range(rounds if forged else 0):
        path, whole = draw.choice(forged), {one: one.read_bytes() for one in files}
        forge(path, draw)
        try:
            target.read(target.folder)
            found["read"] += 1
        except Exception as error:
            outcome = judged(error, target.folder)
            found[outcome] += 1
            if outcome != "refused":
                print(f"{target.name}: {path.name} forged: {type(error).__name__} {error}")
        for one, content in whole.items():
            if one.read_bytes() != content:
                one.write_bytes(content)
    return found


def judged(error: Exception, folder: Path) -> str:
    if not isinstance(error, ValueError | OSError) or describe(error) is None:
        return "TRACEBACK"
    names = {path.name for path in folder.rglob("*")} | {folder.name}
    return "refused" if any(name in str(error) for name in names) else "UNNAMED"


def read_store(folder: Path) -> Any:
    store = FeatureStore(folder)
    documents = store.documents(0)
    return [
        store.labels, store.features, store.dates, store.symbols, store.date_code, store.symbol_code, store.in_universe,
        store.inputs(0), store.tokens(0), store.normaliser(0).hash, store.tokenizer(0).hash, store.vocabulary(0).hash,
        store.heads, store.feature_names, documents and [documents.vectors, documents.bounds],
    ]  # fmt: skip


class Engine:
    """What a run folder saves: one tensor."""

    def __init__(self) -> None:
        self.step, self.weights = 0, torch.zeros(50)

    def state(self) -> EngineState:
        return EngineState(tensors={"weights/w": self.weights}, numbers={"step": float(self.step)})

    def restore(self, state: EngineState) -> None:
        self.step, self.weights = int(state.numbers["step"]), state.tensors["weights/w"]


def read_checkpoint(folder: Path) -> Any:
    engine = Engine()
    state = RunFolder(folder, "run").restore(engine)
    return None if state is None else (engine.step, engine.weights, state.next_epoch, state.best_weights)


def checkpoints(folder: Path) -> Kept:
    """Three checkpoints; a damaged one gives way to the one before, or to the beginning."""
    states = []
    for step in (1, 2, 3):
        engine = Engine()
        engine.step, engine.weights = step, torch.arange(50.0) * step
        state = FitState(next_epoch=step, best_epoch=step - 1, best_weights={"w": engine.weights + 1})
        RunFolder(folder, "run", keep=3).save(engine, state)
        states.append((step, engine.weights, step, state.best_weights))
    return kept("checkpoints", folder, read_checkpoint, [*states, None])


def model(name: str, folder: Path) -> Kept:
    set_seed(1)
    config = {"name": name, "num_features": 3, "num_horizons": 1}
    built = build_model(**config)
    if not isinstance(built, torch.nn.Module):
        draw = np.random.default_rng(1)
        features = draw.normal(size=(200, 3)).astype(np.float32)
        built.fit(Table(features=features, targets=features[:, :1] + 0.1, groups=np.repeat(np.arange(20), 10)))
    save_model(folder, built, config, {"best_epoch": 3, "features": ["a", "b", "c"]})
    return kept(f"model {name}", folder, read_model)


def read_model(folder: Path) -> Any:
    loaded, metadata = load_model(folder)
    if isinstance(loaded, torch.nn.Module):
        return [metadata, dict(loaded.state_dict())]
    return [metadata, loaded.predict(Table(features=np.linspace(-1, 1, 30, dtype=np.float32).reshape(10, 3)))]


def kline_folder(folder: Path) -> Kept:
    torch.manual_seed(1)
    layers = {"d_in": 6, "d_model": 8, "n_heads": 2, "ff_dim": 8, "n_enc_layers": 1, "n_dec_layers": 1}
    drops = dict.fromkeys(("ffn_dropout_p", "attn_dropout_p", "resid_dropout_p"), 0.0)
    codes = {"s1_bits": 2, "s2_bits": 2, "beta": 0.05, "gamma0": 1.0, "gamma": 1.1, "zeta": 0.05, "group_size": 2}
    KronosTokenizer(**layers, **drops, **codes).save_pretrained(folder)
    return kept("K-line folder", folder, lambda one: KronosTokenizer.from_pretrained(one).content_hash)


def folds(folder: Path, work: Workplace) -> Kept:
    folder.mkdir()
    shutil.copy(work.results / "split" / "folds.json", folder)
    write_sums(folder)
    return kept("folds", folder, lambda one: [repr(fold) for fold in read_folds(checked(one, "folds.json"))])


def read_bundle(folder: Path) -> Any:
    """Which bundle it is, and what it forecasts: two objects of the same bundle are not equal."""
    bundle = load_bundle(folder)
    return [bundle.identity, canary_forecasts(bundle, canary_rows(bundle))]


def things_of(work: Workplace, folder: Path) -> list[Kept]:
    """What the packages keep, made of a workplace that has come as far as tokenize."""
    (folder / "parquet").mkdir()
    shutil.copytree(work.results / "sample", folder / "data")
    shutil.copytree(work.results / "split" / "panel", folder / "panel")
    shutil.copytree(work.results / "tokenize", folder / "store")
    shutil.copy(work.results / "split" / "news.parquet", folder / "parquet" / "news.parquet")
    return [
        kept("Parquet file", folder / "parquet", lambda one: read_parquet(one / "news.parquet")),
        kept("data", folder / "data", lambda one: (check_data(one), read_bars(one / "bars").columns)),
        kept("panel", folder / "panel", lambda one: Panel.load(one, mmap=False).columns),
        kept("feature store", folder / "store", read_store),
        checkpoints(folder / "checkpoints"),
        *(model(name, folder / name) for name in ("lstm", "linear", "lightgbm")),
        kline_folder(folder / "kline"),
        folds(folder / "folds", work),
    ]


def attack_stage(work: Workplace, draw: random.Random) -> tuple[str, str]:
    """Damage a file of a stage's results, run a stage that reads it; return what was damaged and what came of it."""
    of = draw.choice(list(READ_BY))
    name = draw.choice(READ_BY[of])
    arguments = draw.choice([had for stage, had in (*STAGES, ("split", ())) if stage == name])
    folder = work.path / "data" if of == "data" else work.results / of
    plan = "_".join(("tokenize" if name == "tokenize_features" else name, *arguments))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in UNREAD)
    path = draw.choice(files) if of != "plan" else folder / f"{plan}.json"
    target = work.results / {"tokenize_features": "tokenize"}.get(name, name).replace("report_stack", "report")
    whole, expected = path.read_bytes(), contents(target)
    damage(path, draw)
    said = StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings(action="ignore"):
            work.run(name, *arguments)
        outcome = "as written" if contents(target) == expected else "BELIEVED"
    except Exception as error:
        is_told = isinstance(error, ValueError | OSError) and describe(error) is not None
        outcome = "refused" if is_told and path.name in str(error) else "UNNAMED" if is_told else "TRACEBACK"
        if outcome != "refused":
            print(f"{name} after damage of {path.relative_to(work.path)}: {type(error).__name__} {error}")
    if outcome == "BELIEVED":
        print(f"{name} after damage of {path.relative_to(work.path)}: other results")
    path.write_bytes(whole)
    return of, outcome


def contents(folder: Path) -> dict[str, str]:
    """Digests of what a stage has written, but for the files that hold the time of day."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "live" not in path.parts)
    kept_files = {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name != "sums.json"}
    return {name: sha256(content).hexdigest() for name, content in kept_files.items()}


def finished_work(folder: Path) -> Workplace:
    document = smoke_document()
    document["models"] = ["linear", "lightgbm"]
    work = make_workplace(folder / "factorcast", document)
    for name, arguments in (("plan", ()), ("sample", ()), ("split", ()), *STAGES):
        with redirect_stdout(StringIO()):
            work.run(name, *arguments)
    with chdir(work.path):
        load_bundle(Path("results/stack/bundle"))
        read_folds("results/split/folds.json")
    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2_000, help="damages per kind of file")
    parser.add_argument("--stage-rounds", type=int, default=300, help="damages before a stage is run")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    logging.disable()
    found: dict[str, Counter[str]] = {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        work = finished_work(Path(scratch))
        (Path(scratch) / "things").mkdir()
        targets = things_of(work, Path(scratch) / "things")
        targets.append(kept("bundle", work.results / "stack" / "bundle", read_bundle))
        for target in targets:
            found[target.name] = attack(target, options.rounds, draw)
            counts = attack_forged(target, options.rounds, draw)
            if counts:
                counts["as written"] = counts.pop("read")  # what is read may be anything
                found[f"{target.name}, JSON forged"] = counts
        for _ in range(options.stage_rounds):
            of, outcome = attack_stage(work, draw)
            found.setdefault(f"results of {of}, by the stages that read them", Counter())[outcome] += 1
    print(f"\n| what was damaged | {' | '.join(OUTCOMES)} |\n|---|{'---|' * len(OUTCOMES)}")
    for name, counts in found.items():
        print(f"| {name} | {' | '.join(str(counts[outcome]) for outcome in OUTCOMES)} |")
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")
    if any(counts[outcome] for counts in found.values() for outcome in OUTCOMES[2:]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
