"""A bundle is read whole or refused with what differs; `factor-serve check` says how it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from checkout import Checkout
from factor_data.sums import file_sha256
from factor_serve import BundleError, load_bundle
from factor_serve.check import check_bundle
from factor_serve.cli import main
from factor_serve.http.service import Service
from serve.bundle_samples import change_manifest

pytestmark = [pytest.mark.end_to_end]


@pytest.fixture
def folder(finished_run: Checkout, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run.path / "results" / "stack" / "bundle", tmp_path / "bundle")


def test_the_manifest_names_every_file_and_the_way_from_bars_to_forecasts(folder: Path) -> None:
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {*manifest["files"], "manifest.json", "sums.json"}
    assert manifest["clean"]["min_history"] == 60
    assert manifest["inputs"][-2:] == ["news_tone", "news_count"]
    assert manifest["members"]["kronos"] == "kline"
    assert manifest["columns"] == ["open", "high", "low", "close", "adj_close", "volume"]
    assert set(manifest["made_of"]) >= {"plan", "code", "tokenize", "split/panel", "train/lstm"}
    assert not any(name.endswith(".parquet") for name in manifest["files"] if name.startswith("models/"))
    assert bundle.identity == manifest["manifest_sha256"]


def test_a_file_that_was_changed_removed_or_added_is_named(folder: Path) -> None:
    weights = folder / "models" / "lstm" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=r"models/lstm/model\.safetensors has other bytes"):
        load_bundle(folder)
    weights.unlink()
    (folder / "inputs" / "extra.json").write_text("{}")
    with pytest.raises(BundleError, match=r"extra\.json is not of the bundle; models/lstm/model\.safetensors is miss"):
        load_bundle(folder)


def test_a_manifest_that_was_edited_truncated_or_is_of_another_format_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"promoted": false', '"promoted": true'))
    with pytest.raises(BundleError, match="does not match its own hash"):
        load_bundle(folder)
    path.write_text(text[:-20])
    with pytest.raises(BundleError, match="is not JSON"):
        load_bundle(folder)
    path.write_text(text)
    change_manifest(folder, lambda manifest: manifest.update(format=99))
    with pytest.raises(BundleError, match="format 99, this version reads 1"):
        load_bundle(folder)
    path.write_text(text)
    change_manifest(folder, lambda manifest: manifest["recipe"].update(kind="oracle"))
    with pytest.raises(BundleError, match=r"recipe\.kind: 'oracle', this version applies weighted_ranks and "):
        load_bundle(folder)
    path.unlink()
    with pytest.raises(BundleError, match=r"manifest\.json: no such file"):
        load_bundle(folder)


def test_nothing_is_read_from_beside_the_bundle_and_nothing_hides_in_it(folder: Path, tmp_path: Path) -> None:
    manifest = (folder / "manifest.json").read_text()
    shutil.copytree(folder / "models" / "lstm", tmp_path / "outside")  # no digest of the manifest is of its files
    change_manifest(
        folder, lambda manifest: manifest["members"].update({"../../outside": manifest["members"].pop("lstm")})
    )
    with pytest.raises(BundleError, match=r"members: '\.\./\.\./outside' must be the name of a folder in models/"):
        load_bundle(folder)
    (folder / "manifest.json").write_text(manifest)
    (folder / "more").mkdir()
    (folder / "more" / "sums.json").write_text("{}")
    with pytest.raises(BundleError, match=r"more/sums\.json is not of the bundle"):
        load_bundle(folder)
    shutil.rmtree(folder / "more")
    (folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="link is not of the bundle"):
        load_bundle(folder)
    (folder / "link").unlink()
    load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda manifest: manifest.update(files=[]), "files: must hold keys and values"),
        (lambda manifest: manifest.update(members=["lstm"]), "members: must hold keys and values"),
        (lambda manifest: manifest.update(gates={}), "gates: must hold a list"),
        (lambda manifest: manifest.update(weights={}), "weights: lacks 'h1', which is among heads"),
        (lambda manifest: manifest["recipe"].pop("scales"), r"recipe\.scales: lacks 'h1', which is among heads"),
        (lambda manifest: manifest["weights"]["h1"].update(gru=1.0), r"weights\.h1: 'gru' is not among members"),
    ],
)
def test_a_manifest_whose_parts_do_not_fit_is_refused_when_it_is_read(folder: Path, change: Any, rule: str) -> None:
    change_manifest(folder, change)
    with pytest.raises(BundleError, match=rf"manifest\.json: {rule}"):
        load_bundle(folder)


def test_a_number_that_json_has_not_is_refused(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"format": 1', '"format": 1, "more": NaN', 1))
    with pytest.raises(BundleError, match=r"manifest\.json: is not JSON"):
        load_bundle(folder)


def test_a_canary_without_a_member_or_without_rows_is_a_bundle_that_is_not_served(folder: Path) -> None:
    path = folder / "canary" / "forecasts.parquet"
    stored = pd.read_parquet(path)
    stored[stored["model"] != "lstm"].to_parquet(path)
    change_manifest(folder, lambda manifest: manifest["files"].update({"canary/forecasts.parquet": file_sha256(path)}))
    found = {one.name: one for one in check_bundle(folder, unpromoted=True)}
    assert not found["canary lstm"].passed
    assert found["canary linear"].passed
    with pytest.raises(BundleError, match="lstm forecasts the canary otherwise"):
        Service(folder, unpromoted=True).load()
    (folder / "canary" / "symbols.npy").unlink()
    change_manifest(folder, lambda manifest: manifest["files"].pop("canary/symbols.npy"))
    with pytest.raises(BundleError, match=r"symbols\.npy: no such file"):
        Service(folder, unpromoted=True).load()


def test_members_of_another_bundle_are_refused_even_with_their_hashes(folder: Path) -> None:
    normaliser = json.loads((folder / "inputs" / "normaliser.json").read_text())
    normaliser["clip"] = 4.0
    (folder / "inputs" / "normaliser.json").write_text(json.dumps(normaliser))
    digest = file_sha256(folder / "inputs" / "normaliser.json")
    change_manifest(folder, lambda manifest: manifest["files"].update({"inputs/normaliser.json": digest}))
    with pytest.raises(BundleError, match=r"models/linear: normaliser_sha256 is .*: the member was fitted on other"):
        load_bundle(folder)


def test_check_says_how_a_bundle_is_and_its_status_tells(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "BAD promoted" in said
    assert main(["check", str(folder), "--unpromoted", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"]
    found = {one["name"]: one["found"] for one in document["checks"]}
    assert {found[f"canary {model}"] for model in ("linear", "lightgbm", "lstm", "kronos", "stack")} == {
        "the same bits"
    }
    assert main(["check", str(folder), "--unpromoted", "--max-ms", "0.001"]) == 1
    assert "BAD latency" in capsys.readouterr().out
    (folder / "reference.json").write_text("{}")
    assert main(["check", str(folder)]) == 1
    assert "reference.json has other bytes" in capsys.readouterr().out
    assert main(["check", str(folder / "nowhere")]) == 1


def test_check_finds_a_member_that_says_something_else_than_it_did(folder: Path) -> None:
    """Weights of another training, put in with all their hashes, as a wrong copy by a careful hand would be."""
    from safetensors.torch import load_file, save_file

    from factor_models.checkpoints import content_hash

    member = folder / "models" / "lstm"
    weights = load_file(member / "model.safetensors")
    name = sorted(weights)[0]
    weights[name] = weights[name] + 0.5
    save_file(weights, member / "model.safetensors")
    metadata = json.loads((member / "metadata.json").read_text())
    metadata["weights_sha256"] = file_sha256(member / "model.safetensors")
    del metadata["metadata_sha256"]
    (member / "metadata.json").write_text(json.dumps(metadata | {"metadata_sha256": content_hash(metadata)}))
    changed = {f"models/lstm/{one}": file_sha256(member / one) for one in ("model.safetensors", "metadata.json")}
    change_manifest(folder, lambda manifest: manifest["files"].update(changed))
    checks = {one.name: one for one in check_bundle(folder, unpromoted=True)}
    assert not checks["canary lstm"].passed
    assert "deviations" in checks["canary lstm"].found
    assert checks["canary linear"].passed


def test_text_vectors_of_a_pretrained_encoder_are_refused_since_it_does_not_lie_in_the_bundle(folder: Path) -> None:
    vectors = folder / "inputs" / "news_vectors.json"
    config = {"kind": "transformer", "folder": "encoder@0123456789ab"}
    vectors.write_text(json.dumps({"format": 1, "encoder": "folder", "config": config}))
    change_manifest(
        folder, lambda manifest: manifest["files"].update({"inputs/news_vectors.json": file_sha256(vectors)})
    )
    with pytest.raises(BundleError, match=r"news_vectors\.json: kind transformer: its pretrained encoder is no part"):
        load_bundle(folder)
    checks = check_bundle(folder, unpromoted=True)
    assert [one.name for one in checks if not one.passed] == ["members"]


def test_a_bundle_whose_hashes_were_made_anew_is_seen_by_what_is_known_from_elsewhere(folder: Path) -> None:
    identity = json.loads((folder / "manifest.json").read_text())["manifest_sha256"]
    assert main(["check", str(folder), "--unpromoted", "--sha256", identity]) == 0

    def promote(manifest: dict[str, Any]) -> None:
        manifest["promoted"] = True

    change_manifest(folder, promote)
    checks = {one.name: one for one in check_bundle(folder, sha256=identity)}
    assert [name for name, one in checks.items() if not one.passed] == ["identity", "promoted"]
    assert "promoted is True" in checks["promoted"].found

    def pass_all(manifest: dict[str, Any]) -> None:
        for gate in manifest["gates"]:
            gate["passed"] = True

    change_manifest(folder, pass_all)
    (found,) = (one for one in check_bundle(folder) if not one.passed)
    assert (found.name, "said to be passed with" in found.found) == ("promoted", True)
    with pytest.raises(BundleError, match=f"asked for is {identity}"):
        load_bundle(folder, identity)
    (folder / "sums.json").write_text("{}")
    assert "sums" in [one.name for one in check_bundle(folder, unpromoted=True) if not one.passed]
