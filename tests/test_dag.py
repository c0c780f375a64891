"""dvc.yaml tells the truth: a stage depends on what it imports and reads, and tracks the parameters it uses."""

import ast
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from factor_models import KLINE_MODELS, MODELS
from stages import ROOT, tokenize_kline
from stages.params import Params, read_params

DAG: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = sorted(DAG)
COMMANDS = {"lr_find", "show", "use_data"}
PLUMBING = {"__init__", "run", "params"}
PARTS = {
    "workers",
    "progress",
    "fold",
    "identity",
    "kline",
    "kline_report",
    "kline_tokenizer",
    "kronos",
    "launch",
    "live_ic",
    "engine_fit",
    "network",
    "watch",
    "sample_weights",
    "targets",
    "teacher",
    "training_loss",
    "oof",
    "judge",
    "ensemble",
    "report_data",
    "model_card",
    "model_report",
    "stack_report",
}


def module_of(stage: str) -> str:
    match = re.search(r"python -m stages\.(\w+)", DAG[stage]["cmd"])
    assert match is not None
    return match.group(1)


def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / "stages" / f"{module}.py").read_text())


def imported_names(module: str) -> set[str]:
    names = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def code_dependencies(module: str) -> set[str]:
    """Files and packages behind a stage. stages.params only refuses: its schema imports are no dependency."""
    found = {"stages/__init__.py", f"stages/{module}.py"}
    for name in imported_names(module):
        root, _, rest = name.partition(".")
        if root.startswith("factor_"):
            found.add(f"packages/{root.removeprefix('factor_')}/src/{root}")
        elif root == "stages" and rest:
            found |= {f"stages/{rest}.py"} if rest in ("run", "params") else code_dependencies(rest)
    return found


def used_params(stage: str) -> set[str]:
    """Every `params.a.b` that the stage and the modules it imports from stages read, as `a.b`."""
    modules = {Path(dep).stem for dep in code_dependencies(module_of(stage)) if dep.startswith("stages/")}
    chains = set()
    for node in (node for module in sorted(modules - PLUMBING) for node in ast.walk(tree_of(module))):
        chain: list[str] = []
        root: ast.AST = node
        while isinstance(root, ast.Attribute):
            chain.insert(0, root.attr)
            root = root.value
        if chain and isinstance(root, ast.Name) and root.id == "params":
            chains.add(".".join(chain))
    return {c for c in chains if not any(other.startswith(c + ".") for other in chains)} - METHODS


METHODS = {name for name in vars(Params) if callable(getattr(Params, name)) and not name.startswith("_")}


def exists(schema: Any, key: str) -> bool:
    for part in key.split("."):
        if not is_dataclass(schema) or part not in {field.name for field in fields(schema)}:
            return False
        schema = get_type_hints(schema)[part]
    return True


def tracked_params(stage: str) -> list[str]:
    return [key.replace(".${item.model}", "") for key in DAG[stage].get("params", [])]


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_imports(stage: str) -> None:
    listed = {dep for dep in DAG[stage]["deps"] if dep.startswith(("stages/", "packages/"))}
    assert listed == code_dependencies(module_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_data_deps_are_the_results_that_are_read(stage: str) -> None:
    paths = {dep for dep in code_dependencies(module_of(stage)) if dep.startswith("stages/")}
    read = {name for path in paths for name in re.findall(r'RESULTS / "(\w+)"', (ROOT / path).read_text())}
    listed = {dep.split("/")[1] for dep in DAG[stage]["deps"] if dep.startswith("results/")}
    assert listed == read - {stage}


@pytest.mark.parametrize("stage", STAGES)
def test_every_used_params_key_exists_and_is_tracked(stage: str) -> None:
    tracked = tracked_params(stage)
    for key in used_params(stage):
        assert exists(Params, key), f"params.{key} is used but is not a key"
        assert any(key == t or key.startswith(t + ".") for t in tracked), (
            f"params.{key} is used but not tracked"
        )


@pytest.mark.parametrize("stage", STAGES)
def test_every_tracked_params_key_exists_and_is_used(stage: str) -> None:
    used = used_params(stage)
    for key in tracked_params(stage):
        assert exists(Params, key), f"{key} is tracked but is not a key"
        assert any(u == key or u.startswith(key + ".") for u in used), f"{key} is tracked but not used"


def test_a_stage_is_a_file_a_block_and_a_section() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - COMMANDS - PLUMBING - PARTS
    assert files == {module_of(stage) for stage in STAGES}
    assert {field.name for field in fields(Params)} == {"models", "zoo"} | set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_outs_lie_under_the_stage_s_own_folder_and_persist(stage: str) -> None:
    for kind in ("outs", "metrics", "plots"):
        for out in DAG[stage].get(kind, []):
            ((path, options),) = out.items()
            assert path.startswith(f"results/{stage}")
            assert options["persist"] is True, (
                "without persist, DVC deletes the last good result before the run"
            )


def test_every_model_of_the_zoo_has_a_section() -> None:
    assert set(read_params(ROOT / "params.yaml").zoo) == set(MODELS) | set(KLINE_MODELS)


def test_the_stage_of_tokens_knows_the_kline_models() -> None:
    assert set(tokenize_kline.KLINE_MODELS) == set(KLINE_MODELS)


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid(preset: Path) -> None:
    read_params(preset)


def test_no_package_reads_yaml_or_paths_of_the_dag() -> None:
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        source = path.read_text()
        assert not re.search(r"^\s*(import yaml|from yaml|import dvclive|from dvclive)", source, re.M), path
        assert "results/" not in source, path


def test_deepspeed_is_imported_in_one_file() -> None:
    importers = [
        path.name
        for path in (ROOT / "packages").glob("*/src/**/*.py")
        if re.search(r"^\s*(import|from) deepspeed", path.read_text(), re.M)
    ]
    assert importers == ["engine.py"]
