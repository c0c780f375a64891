"""Lock files of DVC read and written by libyaml, for processes of warm.py: the same values, the same bytes.

DVC reads and writes dvc.lock anew for every stage that it runs, by a parser in Python: half a second for thirty stages,
where libyaml takes three hundredths. `test_warm.py` holds one against the other.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import dvc.utils.strictyaml
import yaml
from dvc.utils.serialize import _yaml


class LockDumper(yaml.CSafeDumper):
    """Mappings in their own order, whatever class they are of."""


LockDumper.add_representer(OrderedDict, lambda dumper, data: dumper.represent_dict(data.items()))
# DVC's parser reads YAML 1.2, to which 12e3 is a number: a hash of that shape is put in quotes.
LockDumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def is_lock(path: object) -> bool:
    return Path(str(path)).name == "dvc.lock"


def use_libyaml() -> None:
    """From now on in this process, and in its forks, DVC reads and writes files named dvc.lock by libyaml."""
    parse, dump = _yaml.parse_yaml, _yaml._dump

    @wraps(parse)
    def parse_lock(text: str, path: str, typ: str = "safe") -> Any:
        if not is_lock(path):
            return parse(text, path, typ=typ)
        try:
            return read_lock(text)
        except yaml.YAMLError:  # DVC's own parser says what is wrong
            return parse(text, path, typ=typ)

    @wraps(dump)
    def dump_lock(data: Any, stream: TextIO) -> Any:
        if is_lock(getattr(stream, "name", "")):
            return stream.write(written_lock(data))
        return dump(data, stream)

    # By name in two modules, and inside the first by modify_yaml and dump_yaml.
    _yaml.parse_yaml = dvc.utils.strictyaml.parse_yaml = parse_lock
    _yaml._dump = dump_lock


def read_lock(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader) or {}


def written_lock(data: Any) -> str:
    return yaml.dump(data, Dumper=LockDumper, sort_keys=False, default_flow_style=False, allow_unicode=True)
