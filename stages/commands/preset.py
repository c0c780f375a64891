"""make preset NAME=smoke: lay presets/smoke.yaml over params.yaml. It says how to go back."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from ruamel.yaml import YAML

from factor_data.whole_file import write_bytes
from stages.params.overlays import merges, overlay
from stages.params.plain_yaml import parse_yaml
from stages.params.presets import preset, preset_names
from stages.params.reading import PARAMS_FILE, parse_params, read_document
from stages.running.stage import UNTOUCHED, StageError, run


def main() -> None:
    """Write the values of a preset into params.yaml, whose comments stay; refuse if that would lose changes."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in preset_names():
        raise StageError(f"say which preset: make preset NAME=<one of {', '.join(preset_names())}>")
    text, before = replaceable(PARAMS_FILE.read_text(encoding="utf-8"))
    document = parse_yaml(text) if before else read_document(PARAMS_FILE)
    parse_params(overlay(document, preset(name)), f"{PARAMS_FILE} with preset {name}")
    write(preset(name), text)
    place = f", in the place of {before}" if before else ""
    print(f"{PARAMS_FILE} is now the preset {name}{place}. Run: make repro. Back: git checkout {PARAMS_FILE}")


def replaceable(text: str) -> tuple[str, str]:
    """Return what a preset may be laid over where params.yaml has this text, and the preset that it is already, or "".

    That is the text of the last commit. Where params.yaml differs from it by an unedited preset, nothing is lost that
    is not in presets/; StageError where it differs by anything else. Without a commit it is the text itself.
    """
    shown = subprocess.run(["git", "show", f"HEAD:./{PARAMS_FILE}"], check=False, capture_output=True)
    if shown.returncode or (committed := shown.stdout.decode()) == text:
        return text, ""
    for name in preset_names():
        with suppress(StageError):  # a file that is no preset
            if with_values(committed, preset(name)) == text:
                return committed, name
    raise StageError(
        f"{PARAMS_FILE} differs from the last commit and would be lost: commit it, or git checkout {PARAMS_FILE}"
    )


def write(values: Mapping[str, Any], text: str | None = None) -> None:
    """Put the values into a text, by default that of params.yaml, and this into params.yaml; whole or not at all."""
    start = PARAMS_FILE.read_text(encoding="utf-8") if text is None else text
    write_bytes(PARAMS_FILE, with_values(start, values).encode())


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Return a YAML text with values in the place of its own; its comments stay."""
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    document = yaml.load(text)
    lay_over(document, values)
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def lay_over(document: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set the values of a nested mapping in a document, in place."""
    for key, value in values.items():
        if merges(key, document.get(key), value):
            lay_over(document[key], value)
        else:
            document[key] = value


if __name__ == "__main__":
    run("preset", main, hint=UNTOUCHED)
