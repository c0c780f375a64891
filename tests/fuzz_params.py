"""params.yaml spoilt from a seed, and planned as a user would: planned, or refused in a message with its place.

`make fuzz` runs the long form, tests/stages/test_fuzz_params.py a short one. Values, keys and lines are changed, which
the checks of one key at a time (tests/stages/test_params_fuzz.py) do not combine, and bytes of the text.
"""

from __future__ import annotations

import argparse
import copy
import math
import random
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from stages.running.stage import describe
from workplace import Workplace, make_workplace, smoke_document

OUTCOMES = ("planned", "refused", "TRACEBACK", "UNNAMED", "OVER 10 S")
LONGEST = 10.0
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 64, 999, 10**6, 10**9, 2**31, 2**32, 10**12, 10**30, 0.5, -0.5, 1e-30, 1e300,
    math.inf, -math.inf, math.nan, "", "zzz", "lstm", "h1", "../..", "\x00", "é", "1e3", [], [1], ["a", "a"], {},
    {"zzz": 1}, [[]], {"h1": {}},
)  # fmt: skip


def places(tree: Any, below: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values of a document."""
    inner = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    return [path for key, value in inner for path in [(*below, key), *places(value, (*below, key))]]


def parent(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree


def spoil_tree(tree: dict[str, Any], draw: random.Random) -> None:
    """Change one to three values, keys or places of a document."""
    for _ in range(draw.randint(1, 3)):
        every = places(tree)
        path, other = draw.choice(every), draw.choice(every)
        above = parent(tree, path)
        match draw.choice(("value", "value", "scale", "delete", "rename", "copy")):
            case "value":
                above[path[-1]] = draw.choice(VALUES)
            case "scale" if isinstance(above[path[-1]], int | float):
                above[path[-1]] *= draw.choice((-1, 0.1, 2, 10, 100, 1000))
            case "delete":
                del above[path[-1]]
            case "rename" if isinstance(above, dict):
                above[draw.choice((f"{path[-1]}x", "zzz", other[-1]))] = above.pop(path[-1])
            case _:
                above[path[-1]] = copy.deepcopy(parent(tree, other)[other[-1]])


def spoil_text(text: str, draw: random.Random) -> bytes:
    """Change lines or bytes of a text."""
    lines = text.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    match draw.choice(("twice", "cut", "indent", "tab", "swap", "byte")):
        case "twice":
            lines.insert(at, draw.choice(lines))
        case "cut":
            del lines[at:]
        case "indent":
            lines[at] = " " * draw.randint(1, 5) + lines[at]
        case "tab":
            lines[at] = "\t" + lines[at]
        case "swap":
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case _:
            content = bytearray("".join(lines).encode())
            for _ in range(draw.randint(1, 4)):
                content[draw.randrange(len(content))] = draw.randrange(256)
            return bytes(content)
    return "".join(lines).encode()


def outcome_of(plan: Callable[[], None]) -> tuple[str, str]:
    """(outcome, message) of one run of plan."""
    started = time.process_time()
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings(action="ignore"):
            plan()
    except Exception as error:
        said = describe(error) if isinstance(error, ValueError | OSError) else None
        if said is None:
            return "TRACEBACK", f"{type(error).__name__} {error}"
        if "params.yaml" not in said:
            return "UNNAMED", said
        kind, message = "refused", said
    else:
        kind, message = "planned", ""
    return ("OVER 10 S", message) if time.process_time() - started > LONGEST else (kind, message)


def fuzz(work: Workplace, rounds: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Plan so many spoilt documents; return how often each outcome came, and what is wrong of those that must not."""
    draw, found, faults = random.Random(seed), Counter[str](), list[str]()
    whole = smoke_document()
    for number in range(rounds):
        tree = copy.deepcopy(whole)
        if number % 3:
            spoil_tree(tree, draw)
        text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        content = text.encode() if number % 3 else spoil_text(text, draw)
        (work.path / "params.yaml").write_bytes(content)
        kind, message = outcome_of(lambda: work.run("plan"))
        found[kind] += 1
        if kind in OUTCOMES[2:]:
            faults.append(f"round {number} of seed {seed}: {kind}: {message}")
    return found, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2_000, help="documents that are planned")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        work = make_workplace(Path(scratch) / "factorcast", smoke_document())
        for stage in ("plan", "sample"):
            work.run(stage)
        found, faults = fuzz(work, options.rounds, options.seed)
    print("\n".join(faults))
    print(f"\n| documents | {' | '.join(OUTCOMES)} |\n|---|{'---|' * len(OUTCOMES)}")
    print(f"| params.yaml, by plan | {' | '.join(str(found[outcome]) for outcome in OUTCOMES)} |")
    print(f"seed {options.seed}, {time.monotonic() - started:.0f} s")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
