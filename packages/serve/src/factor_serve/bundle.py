"""A bundle on disk, read whole or refused: every file is held against the manifest before anything is built of it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data import (
    CleanRules,
    ColumnFeatures,
    Label,
    NewsScorer,
    NewsVectoriser,
    Normaliser,
    OwnFeatures,
    QuantileTokenizer,
    SymbolVocabulary,
)
from factor_data.atomic import canonical_json
from factor_data.json_document import read_document
from factor_data.labels.config import read_label
from factor_data.news.config import HANDED_IN
from factor_data.sums import SUMS, file_sha256
from factor_serve.export.names import DOCUMENT_HASH
from factor_serve.member import AnyMember

FORMAT = 1
MANIFEST = "manifest.json"
HASH = "manifest_sha256"
MOST_BYTES = 2**26
RANKS, LEVELS = "weighted_ranks", "weighted_levels"
RECIPES = (RANKS, LEVELS)
"""The kinds of ensemble that this version knows how to apply."""
NEEDED = (
    "calendar", "calendars", "clean", "columns", "features", "files", "fold", "gates", "heads", "inputs", "labels",
    "left_out", "made_of", "members", "promoted", "recipe", "unknown_inputs", "versions", "weights",
)  # fmt: skip
TABLES = ("clean", "features", "files", "fold", "labels", "made_of", "members", "recipe", "versions", "weights")
LISTS = ("columns", "gates", "heads", "inputs", "unknown_inputs")


class BundleError(ValueError):
    """A bundle that is not what was written, or that this version cannot read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """A bundle, verified and loaded; made by `load_bundle`."""

    folder: Path
    manifest: Mapping[str, Any]
    members: Mapping[str, AnyMember]
    labels: Mapping[str, Label]
    """In the order of the members' heads."""
    normaliser: Normaliser
    tokenizer: QuantileTokenizer
    vocabulary: SymbolVocabulary
    scorer: NewsScorer | None
    """Tone of words; None where no news are read."""
    vectoriser: NewsVectoriser | None
    """Vectors of texts; None where none are read."""
    train_dates: NDArray[np.datetime64]
    """Dates that the members were fitted on."""
    code: tempfile.TemporaryDirectory | None = field(default=None, repr=False)
    """Where the files of own features lie while the bundle is used, as they were verified."""
    graphs: Mapping[str, Any] | None = None
    """What an export says of the graphs that are its members; None where these are as they were fitted."""

    @property
    def identity(self) -> str:
        """sha256 of the manifest, or of the document of an export: which bundle this is."""
        return str(self.manifest[HASH] if self.graphs is None else self.graphs[DOCUMENT_HASH])

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that its forecasts were compared with."""
        found: Mapping[str, str] = self.manifest["versions"] if self.graphs is None else self.graphs["versions"]
        return found

    @property
    def without_graph(self) -> list[str]:
        """Members of the stack that an export has no graph of; none where these are as they were fitted."""
        return [name for name in self.manifest["members"] if name not in self.members]

    @property
    def promoted(self) -> bool:
        """Return whether the stack has passed every gate."""
        return bool(self.manifest["promoted"])

    @property
    def reads_news(self) -> bool:
        """Return whether news are among the inputs."""
        return self.scorer is not None

    @property
    def one_clock(self) -> bool:
        """Return whether news are matched with bars by one clock, no zone being said of either."""
        return self.scorer is not None and self.scorer.config.stamp_zone is None

    @cached_property
    def reference(self) -> Mapping[str, Any]:
        """What was usual when it was made: spreads of forecasts, deciles of inputs, rank ICs out of fold."""
        return _json(self.folder / "reference.json")

    @cached_property
    def clean_rules(self) -> CleanRules:
        """How bars are cleaned."""
        rules = dict(self.manifest["clean"])
        for name in ("limit_values", "factor_columns"):
            rules[name] = tuple(rules[name])
        return CleanRules(**rules)

    @cached_property
    def own(self) -> OwnFeatures:
        """Features that the user has brought."""
        features = self.manifest["features"]
        place = Path(self.code.name) if self.code is not None else self.folder
        functions = {str(place / path): tuple(names) for path, names in features["functions"].items()}
        return OwnFeatures(
            columns=tuple(one if isinstance(one, str) else column_features(one) for one in features["columns"]),
            expressions=features["expressions"],
            functions=functions,
        )

    def weights(self, label: str) -> dict[str, float]:
        """Weight of each member for a label."""
        return {name: float(weight) for name, weight in self.manifest["weights"][label].items()}

    def scale(self, label: str) -> float:
        """Factor that the ranks of a label are given."""
        return float(self.manifest["recipe"]["scales"][label])

    def levels(self, label: str) -> dict[str, tuple[float, float]] | None:
        """Mean and deviation that each member's forecasts of a label are scaled by; None where their ranks count."""
        recipe = self.manifest["recipe"]
        if recipe["kind"] != LEVELS:
            return None
        return {name: (float(mean), float(deviation)) for name, (mean, deviation) in recipe["levels"][label].items()}


def column_features(document: Mapping[str, Any]) -> ColumnFeatures:
    """Return columns with their rules, as the manifest has them."""
    settings: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in document.items()}
    return ColumnFeatures(**settings)


def load_bundle(folder: str | Path, sha256: str | None = None) -> Bundle:
    """Verify and load a bundle, or an export of one, whose members are ONNX graphs.

    Parameters
    ----------
    sha256 : its identity as it is known from elsewhere, such as a tag; None: whichever bundle lies there

    Raises
    ------
    BundleError : no bundle, one of another format or with a recipe that this version does not know; a file that is
        missing, changed or not of the bundle (each named, the first three); another identity than `sha256`; members
        that do not fit the manifest
    """
    from factor_serve import exported  # which loads a bundle by what is here

    folder = Path(folder)
    if exported.is_export(folder):
        return exported.load_export(folder, sha256)
    manifest = read_manifest(folder)
    if sha256 is not None and manifest[HASH] != sha256.lower():
        raise BundleError(f"{folder}: is the bundle {manifest[HASH]}, asked for is {sha256}")
    verify_files(folder, manifest)
    return with_members(folder, manifest, lambda: _fitted(folder, manifest))


def with_members(
    folder: Path,
    manifest: dict[str, Any],
    load_members: Callable[[], Mapping[str, AnyMember]],
    graphs: Mapping[str, Any] | None = None,
) -> Bundle:
    """Load what a verified folder holds, with members from elsewhere; BundleError for what cannot be read."""
    try:
        return _load(folder, manifest, load_members(), graphs)
    except BundleError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise BundleError(f"{folder}: {error}") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest; BundleError unless it is one that this version reads and its content has its own hash."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{path}: no such file; a bundle is the folder that the stage stack writes")
    if path.stat().st_size > MOST_BYTES:
        raise BundleError(f"{path}: has more than {MOST_BYTES:,} bytes")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is not JSON ({error})") from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path}: must hold keys and values")
    if manifest.get("format") != FORMAT:
        raise BundleError(f"{path}: format {manifest.get('format')!r}, this version reads {FORMAT}")
    if missing := [key for key in NEEDED if key not in manifest]:
        raise BundleError(f"{path}: lacks {missing[0]}")
    content = {key: value for key, value in manifest.items() if key != HASH}
    try:
        own = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    except ValueError as error:
        raise BundleError(f"{path}: is not JSON ({error})") from error
    if manifest.get(HASH) != own:
        raise BundleError(f"{path}: was changed after it was written: it does not match its own hash")
    _check_manifest(path, manifest)
    return manifest


def _check_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a manifest whose parts do not fit each other, or a member whose folder is not of the bundle."""
    for keys, kind, said in ((TABLES, dict, "keys and values"), (LISTS, list, "a list")):
        if wrong := [key for key in keys if not isinstance(manifest[key], kind)]:
            raise BundleError(f"{path}: {wrong[0]}: must hold {said}")
    recipe, members = manifest["recipe"], manifest["members"]
    if (kind := recipe.get("kind")) not in RECIPES:
        raise BundleError(f"{path}: recipe.kind: {kind!r}, this version applies {' and '.join(RECIPES)}")
    if wrong := [name for name in members if name in ("", "..") or Path(name).name != name]:
        raise BundleError(f"{path}: members: {wrong[0]!r} must be the name of a folder in models/")
    of_heads = {"labels": manifest["labels"], "weights": manifest["weights"], "recipe.scales": recipe.get("scales", {})}
    if recipe["kind"] == LEVELS:
        of_heads["recipe.levels"] = recipe.get("levels", {})
    for key, table in of_heads.items():
        if missing := [head for head in manifest["heads"] if head not in table]:
            raise BundleError(f"{path}: {key}: lacks {missing[0]!r}, which is among heads")
    for head in manifest["heads"]:
        if unknown := [name for name in manifest["weights"][head] if name not in members]:
            raise BundleError(f"{path}: weights.{head}: {unknown[0]!r} is not among members")


def verify_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Hold every file against the manifest; BundleError names what is missing, changed or not of the bundle."""
    if differences := differing_files(folder, manifest):
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise BundleError(f"{folder}: is not what was written: {'; '.join(differences[:3])}{more}")


def differing_files(folder: Path, manifest: Mapping[str, Any], apart: Sequence[str] = (MANIFEST, SUMS)) -> list[str]:
    """Return in words each file, besides those `apart`, that is not what the manifest says."""
    expected: dict[str, str] = manifest["files"]
    # all of them: a sums.json in a folder inside vouches for nothing here, and a link to a folder is not gone into
    files = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    found = {path.relative_to(folder).as_posix() for path in files} - set(apart)
    told = [f"{name} is not of the bundle" for name in sorted(found - expected.keys())]
    for name, digest in expected.items():
        if name not in found:
            told.append(f"{name} is missing")
        elif file_sha256(folder / name) != digest:
            told.append(f"{name} has other bytes")
    return told


def _fitted(folder: Path, manifest: Mapping[str, Any]) -> dict[str, AnyMember]:
    from factor_serve.members import load_member  # which needs torch

    return {name: load_member(folder / "models" / name, name, kind) for name, kind in manifest["members"].items()}


def _load(
    folder: Path, manifest: dict[str, Any], members: Mapping[str, AnyMember], graphs: Mapping[str, Any] | None
) -> Bundle:
    inputs = folder / "inputs"
    labels = {name: read_label(manifest["labels"][name]) for name in manifest["heads"]}
    scorer, vectors = inputs / "news_scorer.json", inputs / "news_vectors.json"
    bundle = Bundle(
        folder=folder,
        manifest=manifest,
        members=members,
        labels=labels,
        normaliser=Normaliser.from_dict(_json(inputs / "normaliser.json")),
        tokenizer=QuantileTokenizer.from_dict(_json(inputs / "tokenizer.json")),
        vocabulary=SymbolVocabulary.load(inputs / "vocabulary.json"),
        scorer=NewsScorer.from_dict(_json(scorer)) if scorer.is_file() else None,
        vectoriser=_vectoriser(vectors) if vectors.is_file() else None,
        train_dates=np.load(inputs / "train_dates.npy", allow_pickle=False).astype("datetime64[ns]"),
        code=_own_code(folder, manifest),
        graphs=graphs,
    )
    check_members(bundle)
    return bundle


def check_members(bundle: Bundle) -> None:
    """Refuse members that were fitted on other inputs or labels than the bundle has."""
    wanted = {
        "heads": list(bundle.labels),
        "normaliser_sha256": bundle.normaliser.hash,
        "tokenizer_sha256": bundle.tokenizer.hash,
        "vocabulary_sha256": bundle.vocabulary.hash,
    }
    for name, member in bundle.members.items():
        for key, value in wanted.items():
            if key in member.metadata and member.metadata[key] != value:
                raise BundleError(
                    f"{bundle.folder}: models/{name}: {key} is {member.metadata[key]!r}, the bundle has {value!r}: "
                    "the member was fitted on other inputs"
                )


def _vectoriser(path: Path) -> NewsVectoriser:
    """Vectors of texts; BundleError for those of a pretrained encoder, which does not lie in the bundle."""
    if (kind := _json(path)["config"]["kind"]) in HANDED_IN:
        raise BundleError(
            f"{path}: kind {kind}: its pretrained encoder is no part of a bundle, so this bundle cannot be served; "
            "news_vectors of the kind hashing or tfidf_svd can"
        )
    return NewsVectoriser.load(path.parent)


def _own_code(folder: Path, manifest: Mapping[str, Any]) -> tempfile.TemporaryDirectory | None:
    """A folder of this process with the files of own features; another bundle's of the same name stay apart."""
    paths = list(manifest["features"]["functions"])
    if not paths:
        return None
    place = tempfile.TemporaryDirectory(prefix="factor-serve-")
    for path in paths:
        content = (folder / path).read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest["files"].get(path):
            raise BundleError(f"{folder / path}: has other bytes than the manifest says")
        target = Path(place.name) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return place


def _json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = read_document(path)
    return document
