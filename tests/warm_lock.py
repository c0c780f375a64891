"""Files of DVC read sooner, for processes of warm.py: the same values, the same bytes.

DVC reads and writes dvc.lock anew for every stage that it runs, by a parser in Python: half a second for thirty stages,
where libyaml takes three hundredths. `test_warm.py` holds one against the other. The other files, params.yaml and
dvc.yaml, it parses fifty times in an experiment: here once a text.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import suppress
from copy import deepcopy
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TextIO

import dvc.utils.serialize
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
    """From now on in this process, and in its forks, DVC reads and writes dvc.lock by libyaml, parses a text once."""
    parse, dump = _yaml.parse_yaml, _yaml._dump

    once = lru_cache(maxsize=32)(parse)

    @wraps(parse)
    def parse_sooner(text: str, path: str, typ: str = "safe") -> Any:
        if is_lock(path):
            with suppress(yaml.YAMLError):  # DVC's own parser says what is wrong
                return read_lock(text)
        return deepcopy(once(text, path)) if typ == "safe" else parse(text, path, typ=typ)

    @wraps(dump)
    def dump_lock(data: Any, stream: TextIO) -> Any:
        if is_lock(getattr(stream, "name", "")):
            return stream.write(written_lock(data))
        return dump(data, stream)

    # By name in three modules, and inside the first by modify_yaml and dump_yaml.
    _yaml.parse_yaml = dvc.utils.strictyaml.parse_yaml = dvc.utils.serialize.parse_yaml = parse_sooner
    _yaml._dump = dump_lock


def read_lock(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader) or {}


def written_lock(data: Any) -> str:
    return yaml.dump(data, Dumper=LockDumper, sort_keys=False, default_flow_style=False, allow_unicode=True)
