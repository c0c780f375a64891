"""`factor-serve export BUNDLE --onnx`: members and stack as graphs that need no torch."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `export`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--onnx", action="store_true", required=True, help="as ONNX, the one form there is")
    parser.add_argument("--out", metavar="FOLDER", required=True, help="a folder that is not there yet")


def run_export(options: argparse.Namespace) -> int:
    """Export every member that a graph can be made of; status 1 where a graph forecasts otherwise than its member."""
    from factor_serve.bundle import load_bundle
    from factor_serve.export.bundle import OTHERWISE, differences_of, export_bundle, missing_packages

    if missing := missing_packages():
        print(f"skipped: {' and '.join(missing)} not installed: pip install 'factor-serve[onnx]'")
        return 0
    done = export_bundle(load_bundle(options.bundle), Path(options.out))
    for one in done.members:
        print(f"{one.name}: largest difference {differences_of(one)}")
    for name, why in done.left_out.items():
        print(f"{name}: left out: {why}")
    print(f"stack: left out: {done.without_stack}" if done.stack is None else f"stack: {differences_of(done.stack)}")
    print(f"{len(done.members)} of {len(done.members) + len(done.left_out)} members in {options.out}")
    return 1 if any(why.startswith(OTHERWISE) for why in (*done.left_out.values(), done.without_stack)) else 0
