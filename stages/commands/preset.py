"""make preset NAME=smoke: lay presets/smoke.yaml over params.yaml. It says how to go back."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from ruamel.yaml import YAML

from factor_data.whole_file import write_bytes
from stages.params.overlays import merges
from stages.params.presets import preset, preset_names, with_preset
from stages.params.reading import PARAMS_FILE, parse_params, read_document
from stages.running.stage import UNTOUCHED, StageError, run


def main() -> None:
    """Write the values of a preset into params.yaml, whose comments stay; refuse if that would lose changes."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in preset_names():
        raise StageError(f"say which preset: make preset NAME=<one of {', '.join(preset_names())}>")
    if is_changed():
        raise StageError(
            f"{PARAMS_FILE} differs from the last commit and would be lost: commit it, or git checkout {PARAMS_FILE}"
        )
    parse_params(with_preset(read_document(PARAMS_FILE), name), f"{PARAMS_FILE} with preset {name}")
    write(preset(name))
    print(f"{PARAMS_FILE} is now the preset {name}. Run: make repro. Back: git checkout {PARAMS_FILE}")


def is_changed() -> bool:
    """Return True if params.yaml differs from the last commit."""
    command = ["git", "diff", "--quiet", "HEAD", "--", str(PARAMS_FILE)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 1


def write(values: Mapping[str, Any]) -> None:
    """Put the values into params.yaml, whose comments stay; whole or not at all."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    document = yaml.load(PARAMS_FILE.read_text(encoding="utf-8"))
    lay_over(document, values)
    text = io.StringIO()
    yaml.dump(document, text)
    write_bytes(PARAMS_FILE, text.getvalue().encode())


def lay_over(document: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set the values of a nested mapping in a document, in place."""
    for key, value in values.items():
        if merges(key, document.get(key), value):
            lay_over(document[key], value)
        else:
            document[key] = value


if __name__ == "__main__":
    run("preset", main, hint=UNTOUCHED)
