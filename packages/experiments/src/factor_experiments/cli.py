"""The command `factor-exp`: compare two revisions, count every trial and say what survives, share the books."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from factor_experiments.books import Books
from factor_experiments.compare import compare
from factor_experiments.compare_page import comparison_page
from factor_experiments.compare_text import comparison_text
from factor_experiments.git import Git
from factor_experiments.stored import Stored


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 where the arguments or the repository are wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"factor-exp: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factor-exp", description=__doc__)
    parser.add_argument(
        "-C", "--root", type=Path, default=Path(), help="a folder of the repository, by default this one"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("compare", help="is the difference of two revisions more than chance, and what differs?")
    one.add_argument("a", metavar="A", help="revision, branch, tag, name of an experiment, or workspace")
    one.add_argument("b", metavar="B", help="the same; differences are B less A")
    one.add_argument("--any-symbols", action="store_true", help="also pair dates on which other symbols are scored")
    _outputs(one)
    one.set_defaults(run=_compare)
    pushed = commands.add_parser("push", help="put the books of trials into a git remote, merged with what is there")
    pushed.add_argument("remote", nargs="?", default="origin")
    pushed.set_defaults(run=_push)
    return parser


def _outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--page", type=Path, metavar="OUT", help="also write a page that opens offline")


def _compare(options: argparse.Namespace) -> None:
    git = Git(options.root)
    result = compare(git, Stored(git.root), options.a, options.b, any_symbols=options.any_symbols)
    print(json.dumps(result.to_dict(), indent=2) if options.json else comparison_text(result))
    if options.page is not None:
        _write(options.page, comparison_page(result))


def _push(options: argparse.Namespace) -> None:
    print(f"{options.remote} has {Books(Git(options.root)).push(options.remote)} trials in its books")


def _write(path: Path, text: str) -> None:
    """Write a page whole or not at all, and say where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    print(f"Page: {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
