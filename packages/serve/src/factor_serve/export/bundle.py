"""A bundle as ONNX files in a folder: its members, each compared with what it was made of, and the stack as a whole."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from factor_data.atomic import canonical_json, new_folder, write_json
from factor_data.sums import file_sha256
from factor_models.kline import PathForecaster
from factor_serve.bundle import MANIFEST, Bundle
from factor_serve.canary import canary_rows
from factor_serve.export.graphs import NotExportable
from factor_serve.export.member import TOLERANCE, Exported, export_member
from factor_serve.export.names import BUNDLE, DOCUMENT, DOCUMENT_HASH
from factor_serve.export.whole import export_stack
from factor_serve.exported import FORMAT
from factor_serve.members import Member

FITTED_ON = ("window_rules", "heads", "normaliser_sha256", "tokenizer_sha256")
"""What a member says of itself that is held against the bundle when its graph is loaded."""
DRAWN = "drawn_otherwise"
OTHERWISE = "its graph forecasts otherwise"
"""How the reason of a member begins whose graph is not equal; what torch says of others may have any words."""


def missing_packages() -> list[str]:
    """Return the packages of the extra `onnx` that are not installed."""
    return [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]


@dataclass(frozen=True, kw_only=True)
class Export:
    """What a bundle was exported as."""

    members: tuple[Exported, ...]
    left_out: Mapping[str, str]
    """Why a member was not: no graph can be made of it, or its graph forecasts otherwise (these are not written)."""
    stack: Exported | None
    """The whole ensemble; None where a member of it was left out, or it forecasts otherwise."""
    without_stack: str
    """Why there is none."""


def export_bundle(bundle: Bundle, folder: Path) -> Export:
    """Write a folder that can be served without torch: graphs, what else the bundle holds, and onnx.json.

    It appears whole or not at all. ValueError where it is there, and for a bundle that is an export already.
    """
    if bundle.graphs is not None:
        raise ValueError(f"{bundle.folder}: is an export already")
    if folder.exists():
        raise ValueError(f"{folder}: is there already; name another folder")
    done = _exported(bundle)
    graphs = {f"{one.name}.onnx": one.content for one in (*done.members, *([done.stack] if done.stack else []))}
    manifest = bundle.manifest
    copied = [MANIFEST, *(path for path in manifest["files"] if not path.startswith("models/"))]
    with new_folder(folder, sum(map(len, graphs.values()))) as partial:
        for name, content in graphs.items():
            (partial / name).write_bytes(content)
        for path in copied:
            target = partial / BUNDLE / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / path, target)
        files = {path: file_sha256(partial / path) for path in (*graphs, *(f"{BUNDLE}/{path}" for path in copied))}
        for path in copied[1:]:
            if files[f"{BUNDLE}/{path}"] != manifest["files"][path]:
                raise ValueError(f"{bundle.folder / path}: has other bytes than the manifest says")
        document = _document(bundle, done) | {"files": files}
        own = hashlib.sha256(canonical_json(document).encode()).hexdigest()
        write_json(partial / DOCUMENT, document | {DOCUMENT_HASH: own})
    return done


def _exported(bundle: Bundle) -> Export:
    """The graphs of members and stack, compared."""
    rows = canary_rows(bundle)
    done: list[Exported] = []
    left_out: dict[str, str] = {}
    for name, member in bundle.members.items():
        assert isinstance(member, Member)
        try:
            one = export_member(member, bundle, rows)
        except NotExportable as error:
            left_out[name] = str(error)
            continue
        if one.is_equal:
            done.append(one)
        else:
            left_out[name] = f"{OTHERWISE}: {differences_of(one)}, more than {TOLERANCE:g}"
    if left_out:
        why = f"the stack is made of {', '.join(left_out)} too"
        return Export(members=tuple(done), left_out=left_out, stack=None, without_stack=why)
    stack = export_stack(bundle, {one.name: one.content for one in done}, rows)
    why = "" if stack.is_equal else f"{OTHERWISE}: {differences_of(stack)}"
    return Export(members=tuple(done), left_out={}, stack=None if why else stack, without_stack=why)


def draws_of(member: Member) -> dict[str, Any]:
    """Return what decides the draws of a member; nothing where it draws none."""
    pair = member.model
    if not isinstance(pair, PathForecaster):
        return {}
    return {"draws": {"num_ahead": pair.num_ahead, "samples": pair.samples, "seed": pair.seed}}


def differences_of(one: Exported) -> str:
    """Return in words what a graph differs by."""
    said = ", ".join(f"{value:.1e} on {which} inputs" for which, value in one.difference.items())
    said += "".join(f", {value:.1e} of places on {which} inputs" for which, value in one.moved.items())
    return said + "".join(
        f", {value:.1%} of windows drawn otherwise on {which} inputs" for which, value in one.drawn_otherwise.items()
    )


def _document(bundle: Bundle, done: Export) -> dict[str, Any]:
    def facts(one: Exported) -> dict[str, Any]:
        return {
            "file": f"{one.name}.onnx",
            "sha256": hashlib.sha256(one.content).hexdigest(),
            "opsets": dict(one.opsets),
            "inputs": {name: {"type": kind, "shape": shape} for name, (kind, shape) in one.inputs.items()},
            "outputs": {name: {"type": kind, "shape": shape} for name, (kind, shape) in one.outputs.items()},
            "largest_difference": dict(one.difference),
        } | {key: dict(found) for key, found in (("moved", one.moved), (DRAWN, one.drawn_otherwise)) if found}

    def reads(one: Exported) -> dict[str, Any]:
        member = bundle.members[one.name]
        assert isinstance(member, Member)
        said = {key: member.metadata[key] for key in FITTED_ON if key in member.metadata}
        return said | {"lookback": member.lookback} | draws_of(member)

    return {
        "format": FORMAT,
        "bundle": bundle.identity,
        "labels": list(bundle.labels),
        "tolerance": TOLERANCE,
        "versions": {name: metadata.version(name).partition("+")[0] for name in ("onnxruntime", "numpy")},
        "made_with": {name: metadata.version(name) for name in ("onnx", "torch")},
        "members": {one.name: facts(one) | reads(one) for one in done.members},
        "left_out": dict(done.left_out),
        "stack": done.without_stack if done.stack is None else facts(done.stack) | {"members": list(bundle.members)},
    }
