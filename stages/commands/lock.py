"""make lock: requirements.in as pins with the sha256 of every file of theirs, so that no other file is ever installed.

Torch's wheel for GPUs asks for CUDA's libraries, gigabytes that no other machine needs: they are pinned in a file of
their own. So is the CPU build of torch, whose files PyPI does not have: where an index serves it, it is preferred.
What reads pretrained encoders of texts is pinned beside all else, for those who want it (`make encoder`).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from factor_data.whole_file import write_bytes
from stages.running.stage import StageError, run

ASKED = Path("requirements.in")
ENCODER = ["packages/data/pyproject.toml", "--extra", "encoder"]
"""What `make encoder` installs besides."""
LOCK, ENCODER_LOCK = Path("requirements.lock"), Path("requirements.encoder.lock")
CPU_LOCK, CUDA_LOCK = Path("requirements.cpu.lock"), Path("requirements.cuda.lock")
ENGINE = "torch"
CUDA = re.compile(r"nvidia-[cn]|cuda-|triton")
"""How the names of what torch's wheel for GPUs brings begin; nvidia-ml-py is DeepSpeed's."""
RESOLVE = "uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate"
FIND = "pip install --quiet --dry-run --ignore-installed --no-deps --report -"
DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")
HEAD = "# Made by 'make lock' from requirements.in; do not edit. Installed with --require-hashes --no-deps.\n"


def main() -> None:
    """Write the four files of pins; versions stay as they are pinned unless `--upgrade` is given."""
    options = sys.argv[1:]
    pins = resolved(options, LOCK, CUDA_LOCK)
    engine = next(pin.split()[0] for pin in pins if name_of(pin) == ENGINE)
    before = pins_of(CPU_LOCK.read_text(encoding="utf-8")) if CPU_LOCK.exists() else []
    write_pins(LOCK, [pin for pin in pins if not CUDA.match(pin)])
    write_pins(CUDA_LOCK, [pin for pin in pins if CUDA.match(pin)])
    write_pins(CPU_LOCK, cpu_build(engine, *served(engine), before))
    kept = (LOCK, CUDA_LOCK) if options else (LOCK, CUDA_LOCK, ENCODER_LOCK)
    write_pins(ENCODER_LOCK, added(pins, resolved(ENCODER, *kept)))


def resolved(options: list[str], *kept: Path) -> list[str]:
    """All pins, those of CUDA included. uv keeps the versions that it finds in the file it writes to."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "all.lock"
        path.write_text("".join(one.read_text(encoding="utf-8") for one in kept if one.exists()))
        output([*RESOLVE.split(), *options, str(ASKED), "--output-file", str(path)])
        return pins_of(path.read_text(encoding="utf-8"))


def added(pins: list[str], more: list[str]) -> list[str]:
    """What `more` has besides `pins`. StageError where it has one of these otherwise."""
    if changed := [name_of(pin) for pin in pins if pin not in more]:
        raise StageError(f"{changed[0]}: {ENCODER_LOCK} would need another version or file than {LOCK} has")
    return [pin for pin in more if pin not in pins]


def cpu_build(engine: str, version: str, digest: str, before: list[str]) -> list[str]:
    """The pin of torch's CPU build, with the files of it that this machine and those before would install.

    `version` and `digest` are those of the file that is served here for the pin `engine`. Another build than the CPU's
    adds nothing.
    """
    wanted = f"{engine}+cpu"
    digests = [one for pin in before if pin.split()[0] == wanted for one in DIGEST.findall(pin)]
    if f"{ENGINE}=={version}" == wanted:
        digests.append(digest)
    lines = " \\\n".join(f"    --hash=sha256:{one}" for one in sorted(set(digests)))
    return [f"{wanted} \\\n{lines}\n"] if digests else []


def write_pins(path: Path, pins: list[str]) -> None:
    """Write a file of requirements, and say how many."""
    write_bytes(path, (HEAD + "".join(pins)).encode())
    print(f"{path}: {len(pins)} pins")


def pins_of(text: str) -> list[str]:
    """Each pin of a file of requirements with the lines of its digests. StageError for one without."""
    pins = [pin for pin in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE) if "==" in pin]
    if bare := [name_of(pin) for pin in pins if "--hash=sha256:" not in pin]:
        raise StageError(f"{bare[0]}: the index gives no sha256 of its files, so it cannot be pinned")
    return pins


def name_of(pin: str) -> str:
    """Return the name of the package that is pinned."""
    return pin.split("==")[0]


def served(pin: str) -> tuple[str, str]:
    """Return (version, sha256) of the file that pip would install here for a pin."""
    found = json.loads(output([*FIND.split(), pin]))["install"][0]
    return str(found["metadata"]["version"]), str(found["download_info"]["archive_info"]["hashes"]["sha256"])


def output(command: list[str]) -> str:
    """Return what a module of this Python prints. StageError with its last line where it fails."""
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["without a word"]
        raise StageError(f"{command[0]} ended with status {done.returncode}: {said[-1]}")
    return done.stdout


if __name__ == "__main__":
    run("lock", main)
