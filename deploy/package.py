"""Build the packages that serve from this tree, and hold every file in a wheel or an environment against the tree.

`build OUT` writes the wheels and checks them; `check ENVIRONMENT` checks what is installed there. Both print one digest
of all files: two images with the same digest run the same code. The standard library only, so any Python can run it.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("data", "metrics", "models", "serve")


def tree(root: Path = ROOT) -> dict[str, str]:
    """Return the sha256 of every file of the packages, by its path as it is installed: factor_data/store.py."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        source = root / "packages" / package / "src"
        found |= below(source, source)
    if not found:
        raise SystemExit(f"{root / 'packages'}: holds no packages")
    return found


def in_wheel(path: Path) -> dict[str, str]:
    """Return the sha256 of every file of a wheel, without what pip needs of it."""
    with zipfile.ZipFile(path) as archive:
        names = [one for one in archive.namelist() if ".dist-info/" not in one and not one.endswith("/")]
        return {name: sha256(archive.read(name)) for name in names}


def in_environment(environment: Path) -> dict[str, str]:
    """Return the sha256 of every installed file of the packages."""
    places = list(environment.glob("lib/python3.*/site-packages"))
    if len(places) != 1:
        raise SystemExit(f"{environment}: is no virtual environment")
    found: dict[str, str] = {}
    for package in PACKAGES:
        found |= below(places[0] / f"factor_{package}", places[0])
    return found


def below(folder: Path, base: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder by its path from `base`, without what Python has compiled."""
    return {
        path.relative_to(base).as_posix(): sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Return in words each file that is not what the tree has."""
    return [
        *(f"{name} is not in the tree" for name in sorted(found.keys() - expected.keys())),
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(
            f"{name} has other bytes"
            for name in sorted(found.keys() & expected.keys())
            if found[name] != expected[name]
        ),
    ]


def digest(files: Mapping[str, str]) -> str:
    """Return one sha256 of names and digests."""
    return sha256("\n".join(f"{value}  {name}" for name, value in sorted(files.items())).encode())


def sha256(content: bytes) -> str:
    """Return the sha256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def build(out: Path) -> dict[str, str]:
    """Write a wheel per package; return what is in them."""
    out.mkdir(parents=True, exist_ok=True)
    if list(out.glob("*.whl")):
        raise SystemExit(f"{out}: holds wheels already; name an empty folder")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(out),
    ]
    subprocess.run([*pip, *(str(ROOT / "packages" / name) for name in PACKAGES)], check=True)
    return {name: value for wheel in sorted(out.glob("*.whl")) for name, value in in_wheel(wheel).items()}


def main(arguments: list[str]) -> int:
    """Run one of the two; status 1 where a file differs."""
    match arguments:
        case ["build", out]:
            found = build(Path(out))
        case ["check", environment]:
            found = in_environment(Path(environment))
        case _:
            raise SystemExit("usage: package.py build OUT | package.py check ENVIRONMENT")
    told = differences(found, tree())
    for line in told[:10]:
        print(line, file=sys.stderr)
    print(f"{len(found)} files, {'NOT ' if told else ''}equal to the tree: {digest(found)}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
