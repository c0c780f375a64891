"""make promote, rollback, registry: which bundle is the champion, in git tags and DVC alone; no server.

A promoted bundle is copied to `models/<name>`, which DVC tracks: `git pull` and `dvc pull models/<name>` are all that a
serving machine needs. Tags are written as GTO writes them: `models/<name>@v2` is a version, `models/<name>#champion#3`
the third time that one was made the champion. What the gates said stands in the tag.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table

from factor_data import Sums
from factor_data.sums import file_sha256
from factor_data.whole_file import write_bytes
from stages.commands.use_data import run_quietly
from stages.json_files import read_json
from stages.judging.bundle import HASH, MANIFEST, file_digest
from stages.running.files import LOCKS, replace_folder
from stages.running.lock import exclusive
from stages.running.planned import plan_path
from stages.running.rwlock import remove_broken_rwlock
from stages.running.stage import UNTOUCHED, StageError, run

MODELS = Path("models")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
CHAMPION = "champion"
NUL = "%00"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate in the tag of a version."""

    rule: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What the tag of a version says, as far as it is read here; keys of it that are not read are left out."""

    bundle: str
    promoted: bool
    refit: bool
    gates: list[Gate]


@dataclass(frozen=True, kw_only=True)
class Coronation:
    """What the tag of a champion says."""

    version: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Version:
    """A bundle that was promoted."""

    name: str
    number: int
    commit: str
    told: Promotion
    """What its tag says: bundle, gates, whether they were all passed, whether it is a refit."""

    @property
    def tag(self) -> str:
        """Return the tag of the version."""
        return f"{MODELS}/{self.name}@v{self.number}"

    @property
    def gates(self) -> str:
        """Return the verdict in words."""
        failed = [gate.rule for gate in self.told.gates if not gate.passed]
        return f"all {len(self.told.gates)} passed" if self.told.promoted else f"NOT passed: {'; '.join(failed)}"


@dataclass(frozen=True, kw_only=True)
class Reign:
    """A time that a version was the champion."""

    name: str
    number: int
    version: int
    since: str
    by: str
    why: str
    """promote or rollback."""


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(prog="python -m stages.commands.registry", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("promote", help="make a bundle the champion")
    one.add_argument("name")
    one.add_argument("--bundle", default="results/stack/bundle")
    one.add_argument("--unpromoted", action="store_true", help="also if its stack has not passed the gates; noted")
    one = commands.add_parser("rollback", help="make an earlier version the champion again")
    one.add_argument("name")
    one.add_argument("--to", help="v2; by default the champion before")
    one = commands.add_parser("list", help="who was champion when")
    one.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.command == "list":
        show(options.json)
        return
    remove_broken_rwlock()
    if not NAME.fullmatch(options.name):
        raise StageError(f"NAME={options.name}: must be small letters, digits, - and _, such as default")
    with exclusive(LOCKS / "registry"):
        if options.command == "promote":
            promote(options.name, Path(options.bundle), options.unpromoted)
        else:
            rollback(options.name, options.to)


def promote(name: str, bundle: Path, unpromoted: bool) -> None:
    """Copy a bundle to models/<name>, have DVC track it, commit and tag it as the champion."""
    manifest = verified(bundle)
    check_revision(name, bundle, manifest)
    failed = [gate["rule"] for gate in manifest["gates"] if not gate["passed"]]
    if not manifest["promoted"] and not unpromoted:
        raise StageError(
            f"{bundle}: its stack has not passed the gates ({'; '.join(failed)}); ARGS=--unpromoted makes it the "
            "champion all the same, and the tag says so"
        )
    versions, reigns = versions_of(name), reigns_of(name)
    known = next((one for one in versions if one.told.bundle == manifest[HASH]), None)
    if known is not None and reigns and reigns[-1].version == known.number:
        raise StageError(f"{bundle} is the champion of {name} already: {known.tag}")
    target = MODELS / name
    put(bundle, target)
    run_quietly("dvc", "add", "--quiet", str(target))
    pushed = push(name)
    number = known.number if known is not None else max((one.number for one in versions), default=0) + 1
    commit(name, f"Promote {target} v{number}")
    if known is None:
        told = {
            "bundle": manifest[HASH],
            "promoted": manifest["promoted"],
            "unpromoted": not manifest["promoted"],
            "refit": "refit" in manifest,
            "made_of": manifest["made_of"],
            "gates": [{"rule": gate["rule"], "passed": gate["passed"]} for gate in manifest["gates"]],
        }
        tag(f"{target}@v{number}", f"{target} v{number}", told)
    crown(name, number, "promote")
    print(f"{target} v{number} is the champion. {pushed}")
    print("git push --follow-tags tells others; they run: git pull && dvc pull " + str(target))


def rollback(name: str, to: str | None) -> None:
    """Make an earlier version the champion again."""
    versions, reigns = {one.number: one for one in versions_of(name)}, reigns_of(name)
    if not reigns:
        raise StageError(f"NAME={name}: nothing of that name was promoted yet; make registry lists what was")
    now = reigns[-1].version
    if to is None:
        before = next((one.version for one in reversed(reigns) if one.version != now), None)
        if before is None:
            raise StageError(f"{MODELS / name} v{now} is the only champion there was: nothing to go back to")
        wanted = before
    else:
        wanted = int(to.removeprefix("v")) if re.fullmatch(r"v?\d+", to) else -1
        if wanted not in versions:
            raise StageError(f"TO={to}: must be one of {', '.join(f'v{number}' for number in versions)}")
        if wanted == now:
            raise StageError(f"{MODELS / name} v{now} is the champion already")
    pointer = MODELS / f"{name}.dvc"
    check_clean(name)
    before_it = pointer.read_bytes()
    write_bytes(pointer, run_quietly("git", "show", f"{versions[wanted].tag}:{pointer}").encode())
    try:
        if subprocess.run(["dvc", "checkout", "--force", "--quiet", str(pointer)], check=False).returncode:
            run_quietly("dvc", "pull", "--force", "--quiet", str(pointer))
        verified(MODELS / name)
    except BaseException:  # Ctrl-C too: pointer and folder stay together
        write_bytes(pointer, before_it)
        subprocess.run(["dvc", "checkout", "--force", "--quiet", str(pointer)], capture_output=True, check=False)
        raise
    commit(name, f"Roll {MODELS / name} back to v{wanted}")
    crown(name, wanted, "rollback")
    print(f"{MODELS / name} v{wanted} is the champion again, in the place of v{now}.")
    print(f"git push --follow-tags tells others; they run: git pull && dvc pull {MODELS / name}")


def verified(bundle: Path) -> dict[str, Any]:
    """Return the manifest of a bundle, every file held against its digest."""
    if not (bundle / MANIFEST).is_file():
        raise StageError(
            f"{bundle} is no bundle: dvc repro writes results/stack/bundle, make refit results/refit/bundle"
        )
    sums = Sums(bundle)
    for file in sums.digests:
        sums.path(file)
    manifest: dict[str, Any] = read_json(bundle / MANIFEST)
    if manifest.get(HASH) != file_digest(manifest):
        raise StageError(f"{bundle / MANIFEST}: was changed after it was written: it does not match its own hash")
    return manifest


def check_revision(name: str, bundle: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a bundle that this commit does not make: a tag would say so."""
    check_clean(name)
    plan = plan_path("refit" if "refit" in manifest else "stack")
    if not plan.is_file() or file_sha256(plan) != manifest["made_of"]["plan"]:
        raise StageError(
            f"{bundle} was made by another plan than {plan} of this commit: dvc repro, or git checkout the commit that "
            "made it, then dvc checkout"
        )


def check_clean(name: str) -> None:
    """Refuse edits that are not committed, but for those of a promotion that was killed."""
    mine = {str(MODELS / f"{name}.dvc"), str(MODELS / ".gitignore")}
    lines = run_quietly("git", "status", "--porcelain", "--untracked-files=no").splitlines()
    if edited := [line[3:] for line in lines if line[3:] not in mine]:
        raise StageError(
            f"{edited[0]} has changes that are not committed: commit them first, since a tag names a commit"
        )


def put(bundle: Path, target: Path) -> None:
    """Copy a bundle into its place, whole or not at all."""
    target.parent.mkdir(exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundle, partial)
    verified(partial)
    replace_folder(partial, target)


def push(name: str) -> str:
    """Send the bundle to the DVC remote, where there is one; say which."""
    if not run_quietly("dvc", "remote", "list").strip():
        return "No DVC remote is set (dvc remote add --default ...), so no other machine can pull it yet."
    run_quietly("dvc", "push", "--quiet", str(MODELS / f"{name}.dvc"))
    return "It is in the DVC remote."


def commit(name: str, message: str) -> None:
    """Commit the pointer to the bundle and nothing else, where it has changed."""
    paths = [str(MODELS / f"{name}.dvc"), str(MODELS / ".gitignore")]
    run_quietly("git", "add", "--", *paths)
    if run_quietly("git", "status", "--porcelain", "--untracked-files=no", "--", *paths):
        run_quietly("git", "commit", "--quiet", "--message", message, "--", *paths)


def crown(name: str, version: int, why: str) -> None:
    """Tag a version as the champion from now on."""
    number = max((one.number for one in reigns_of(name)), default=0) + 1
    title = f"{MODELS / name} v{version} is the champion"
    tag(f"{MODELS / name}#{CHAMPION}#{number}", title, {"version": version, "why": why})


def tag(name: str, title: str, told: Mapping[str, Any]) -> None:
    """Write an annotated tag on this commit."""
    run_quietly("git", "tag", "--annotate", name, "--message", f"{title}\n\n{json.dumps(told, indent=1)}")


def tags(pattern: str, says: TypeAdapter[T]) -> list[tuple[re.Match[str], str, str, str, T]]:
    """Return (match, commit, date, who, what it says) of the annotated tags whose whole name matches, by number.

    The body of a message is without its title, and without the signature that `tag.gpgSign` puts below it. StageError
    naming a tag that says something else.
    """
    form = NUL.join(
        ["%(refname:strip=2)", "%(*objectname)", "%(taggerdate:iso-strict)", "%(taggername)", "%(contents:body)"]
    )
    said = run_quietly("git", "for-each-ref", f"--format={form}{NUL}{NUL}", f"refs/tags/{MODELS}/")
    found = []
    for record in said.split("\0\0"):
        fields = record.strip("\n").split("\0")
        if len(fields) == 5 and (match := re.fullmatch(pattern, fields[0])):
            name, commit_, date, who, text = fields
            try:
                told = says.validate_json(text, strict=True)
            except ValidationError as failure:
                first = failure.errors()[0]
                what = ": ".join([*map(str, first["loc"]), first["msg"].lower()])
                raise StageError(f"git tag {name}: its message is not what make promote writes ({what})") from None
            found.append((match, commit_, date, who, told))
    return sorted(found, key=lambda one: (one[0]["name"], int(one[0]["number"])))


def versions_of(name: str | None = None) -> list[Version]:
    """Return the versions of a name, or of all, the oldest first."""
    pattern = rf"{MODELS}/(?P<name>{name or NAME.pattern})@v(?P<number>\d+)"
    return [
        Version(name=match["name"], number=int(match["number"]), commit=commit_, told=told)
        for match, commit_, _, _, told in tags(pattern, TypeAdapter(Promotion))
    ]


def reigns_of(name: str | None = None) -> list[Reign]:
    """Return who was champion of a name, or of all, the first one first."""
    pattern = rf"{MODELS}/(?P<name>{name or NAME.pattern})#{CHAMPION}#(?P<number>\d+)"
    found = []
    for match, _, date, who, told in tags(pattern, TypeAdapter(Coronation)):
        number, version = int(match["number"]), told.version
        found.append(Reign(name=match["name"], number=number, version=version, since=date, by=who, why=told.why))
    return found


def show(as_json: bool) -> None:
    """Print who was champion when, the latest first."""
    versions = {(one.name, one.number): one for one in versions_of()}
    rows: list[dict[str, Any]] = []
    for reign in reversed(reigns_of()):
        version = versions.get((reign.name, reign.version))
        if version is None:
            raise StageError(f"git tag {MODELS}/{reign.name}@v{reign.version} is missing: git fetch --tags brings it")
        later = [one["since"] for one in rows if one["name"] == reign.name]
        rows.append(
            {
                "name": reign.name,
                "version": f"v{reign.version}",
                "since": reign.since,
                "until": later[-1] if later else None,
                "by": f"{reign.why}, {reign.by}",
                "commit": version.commit[:12],
                "bundle": version.told.bundle[:12],
                "refit": version.told.refit,
                "gates": version.gates,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    if not rows:
        print("Nothing was promoted yet: make promote NAME=default")
        return
    table = Table(title="Champions, the latest first")
    columns = ("name", "version", "since", "until", "by", "commit", "bundle", "gates")
    for column in columns:
        table.add_column(column)
    for row in rows:
        shown = {**row, "until": row["until"] or "now", "version": f"{row['version']}{' (refit)' * row['refit']}"}
        table.add_row(*(str(shown[column]) for column in columns))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


if __name__ == "__main__":
    run("registry", main, hint=UNTOUCHED)
