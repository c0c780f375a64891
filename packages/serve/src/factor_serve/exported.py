"""An export on disk: a bundle whose members are ONNX graphs. Nothing here needs torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factor_data.atomic import canonical_json
from factor_models.kline.draws import date_seed, uniform_numbers
from factor_models.kline.windows import SERIES_AT_ONCE
from factor_serve.bundle import HASH, MOST_BYTES, Bundle, BundleError, differing_files, read_manifest, with_members
from factor_serve.export.names import (
    AHEAD,
    BARS,
    BUNDLE,
    DOCUMENT,
    DOCUMENT_HASH,
    INPUT,
    OUTPUT,
    STAMPS,
    UNIFORM,
    WINDOWS,
)
from factor_serve.kline import path_windows
from factor_serve.member import AnyMember, Forecast
from factor_serve.rows import Rows

if TYPE_CHECKING:
    import onnxruntime

FORMAT = 1
NEEDED = ("bundle", "files", "left_out", "members", "stack", "versions")


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphMember(AnyMember):
    """A member as a graph; its metadata are what the document says of it."""

    session: onnxruntime.InferenceSession = field(repr=False)

    @property
    def lookback(self) -> int:
        """Bars of a window."""
        return int(self.metadata["lookback"])

    @property
    def reads_symbols(self) -> bool:
        """Whether the id of a row's symbol is among its inputs."""
        return "symbols" in self.metadata["inputs"]

    @property
    def reads_texts(self) -> bool:
        """Whether the documents of a window are."""
        return "texts" in self.metadata["inputs"]

    @property
    def knows_symbols(self) -> bool:
        """Whether it has learned a vector for each symbol: a graph has no input that decides nothing."""
        return self.reads_symbols and self.kind != "last_bar"  # trees learn no vector

    def forecast(self, rows: Rows, codes: NDArray[np.integer], bundle: Bundle) -> Forecast:
        """Return forecasts of the universe's rows on the dates of `codes` that have the history; none may be left."""
        found = [np.empty(0, np.int64)]
        values = [np.empty((0, len(bundle.labels)), np.float32)]
        if self.kind == "kline":
            for code in codes:
                for places, said in self._of_paths(rows, int(code), bundle):
                    found.append(places)
                    values.append(said)
            return _in_order(found, values)
        for batch in self.windows(rows, codes, bundle.vocabulary, mask=False).batches(1):
            every = {WINDOWS: batch.windows, "symbols": batch.symbols, "texts": batch.texts}
            if self.kind == "last_bar":
                every[INPUT] = batch.windows[:, -1]
            feed = {name: np.ascontiguousarray(every[name]) for name in self.metadata["inputs"]}
            found.append(batch.rows)
            values.append(self.session.run(None, feed)[0])
        return _in_order(found, values)

    def _of_paths(self, rows: Rows, code: int, bundle: Bundle) -> Iterator[Forecast]:
        """Forecasts of the symbols of one date by the paths that are drawn for it, some symbols at a time."""
        draws = self.metadata["draws"]
        num_ahead = int(draws["num_ahead"])
        found, bars, stamps, ahead = path_windows(rows, code, self.lookback, num_ahead, bundle.train_dates)
        uniform = uniform_numbers(date_seed(int(draws["seed"]), rows.dates[code]), num_ahead, int(draws["samples"]))
        for start in range(0, len(found), SERIES_AT_ONCE):
            piece = slice(start, start + SERIES_AT_ONCE)
            feed = {BARS: bars[piece], STAMPS: stamps[piece], AHEAD: ahead, UNIFORM: uniform}
            yield found[piece], self.session.run([OUTPUT], feed)[0]


def _in_order(found: list[NDArray[np.int64]], values: list[NDArray[np.float32]]) -> Forecast:
    """Forecasts of several dates as one, by rows."""
    order = np.argsort(np.concatenate(found), kind="stable")
    return np.concatenate(found)[order], np.concatenate(values)[order]


def is_export(folder: Path) -> bool:
    """Return whether a folder holds an export, by its document."""
    return (folder / DOCUMENT).is_file()


def read_export(folder: Path) -> dict[str, Any]:
    """Return the document of an export; BundleError unless this version reads it and it has its own hash."""
    path = folder / DOCUMENT
    if path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{path}: has more than {MOST_BYTES:,} bytes")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        content = {key: value for key, value in document.items() if key != DOCUMENT_HASH}
        own = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    except (ValueError, RecursionError, AttributeError) as error:
        raise BundleError(f"{path}: is not JSON with keys and values ({error})") from error
    if document.get("format") != FORMAT:
        raise BundleError(f"{path}: format {document.get('format')!r}, this version reads {FORMAT}")
    if missing := [key for key in NEEDED if key not in document]:
        raise BundleError(f"{path}: lacks {missing[0]}")
    if document.get(DOCUMENT_HASH) != own:
        raise BundleError(f"{path}: was changed after it was written: it does not match its own hash")
    return dict(document)


def differing_in_export(folder: Path, document: Mapping[str, Any]) -> list[str]:
    """Return in words each file of an export that is not what its document says."""
    return differing_files(folder, document, (DOCUMENT,))


def load_export(folder: Path, sha256: str | None = None) -> Bundle:
    """Verify and load an export as the bundle it was made of, its members being graphs; BundleError as `load_bundle`.

    `sha256` is that of the document, which names the graphs as well.
    """
    document = read_export(folder)
    if sha256 is not None and document[DOCUMENT_HASH] != sha256.lower():
        raise BundleError(f"{folder}: is the export {document[DOCUMENT_HASH]}, asked for is {sha256}")
    if differences := differing_in_export(folder, document):
        raise BundleError(f"{folder}: is not what was written: {'; '.join(differences[:3])}")
    manifest = read_manifest(folder / BUNDLE)
    if manifest[HASH] != document["bundle"]:
        raise BundleError(f"{folder}: {BUNDLE} is the bundle {manifest[HASH]}, {DOCUMENT} says {document['bundle']}")
    for path, digest in manifest["files"].items():
        if not path.startswith("models/") and document["files"].get(f"{BUNDLE}/{path}") != digest:
            raise BundleError(f"{folder / BUNDLE / path}: is not the bundle's file")
    return with_members(folder / BUNDLE, manifest, lambda: _members(folder, manifest, document), document)


def _members(folder: Path, manifest: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, AnyMember]:
    """The members that have a graph, in the order of the bundle."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BundleError(f"{folder}: holds ONNX graphs, onnxruntime is not installed (factor-serve[onnx])") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same bits whatever the machine's cores
    found: dict[str, AnyMember] = {}
    for name, kind in manifest["members"].items():
        if name in document["members"]:
            said = document["members"][name]
            content = (folder / said["file"]).read_bytes()
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            found[name] = GraphMember(name=name, kind=kind, metadata=said, session=session)
    return found
