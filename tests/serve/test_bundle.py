"""A bundle is read whole or refused with what differs; `factor-serve check` says how it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from checkout import Checkout
from factor_serve import BundleError, load_bundle
from factor_serve.check import check_bundle
from factor_serve.cli import main
from serve.bundle_samples import change_manifest
from stages.judging.bundle import read_bundle

pytestmark = [pytest.mark.end_to_end]


@pytest.fixture
def folder(finished_run: Checkout, tmp_path: Path) -> Path:
    return shutil.copytree(finished_run.path / "results" / "stack" / "bundle", tmp_path / "bundle")


def test_the_manifest_names_every_file_and_the_way_from_bars_to_forecasts(folder: Path) -> None:
    manifest = read_bundle(folder)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {*manifest["files"], "manifest.json", "sums.json"}
    assert manifest["clean"]["min_history"] == 60
    assert manifest["inputs"][-2:] == ["news_tone", "news_count"]
    assert manifest["members"]["kronos"] == "kline"
    assert manifest["columns"] == ["open", "high", "low", "close", "adj_close", "volume"]
    assert set(manifest["made_of"]) >= {"plan", "code", "tokenize", "split/panel", "train/lstm"}
    assert not any(name.endswith(".parquet") for name in manifest["files"] if name.startswith("models/"))
    assert load_bundle(folder).identity == manifest["manifest_sha256"]


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


def test_members_of_another_bundle_are_refused_even_with_their_hashes(folder: Path) -> None:
    normaliser = json.loads((folder / "inputs" / "normaliser.json").read_text())
    normaliser["clip"] = 4.0
    (folder / "inputs" / "normaliser.json").write_text(json.dumps(normaliser))
    from factor_data.sums import file_sha256

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

    from factor_data.sums import file_sha256
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
