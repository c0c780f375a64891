"""git as a command: what is asked of a repository, in few processes however many revisions there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

EXPERIMENTS = "refs/exps"
"""Where DVC keeps its experiments, below the revision that they start from."""
INTERNAL = ("apply", "celery", "exec", "stash", "temp")
"""DVC's own refs below that."""
NO_ROOM = ("No space left on device", "Out of diskspace", "Disk quota exceeded", "File too large")
CRASH = re.compile(r"^fast-import: dumping crash report to (.*)$", re.MULTILINE)
FORMAT = "%(objectname) %(refname)"


class GitError(ValueError):
    """git refused; the message is its own."""


class Git:
    """A repository, by any folder inside it. ValueError where there is none."""

    def __init__(self, folder: str | Path) -> None:
        self.root = Path(folder)
        self.root = Path(self.text("rev-parse", "--show-toplevel"))

    def run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Return what git prints; GitError with its message where it fails."""
        hidden = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set by hooks, of the repository they run in
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        try:
            done = subprocess.run(
                ["git", "-C", str(self.root), *arguments],
                input=stdin, capture_output=True, env=environment, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise GitError("git is not installed") from None
        if done.returncode:
            raise GitError(
                self._told(done.stderr.decode(errors="replace").strip(), stdin) or f"git {arguments[0]} failed"
            )
        return done.stdout

    def _told(self, said: str, stdin: bytes | None) -> str:
        """Return what git said when it failed; of a full disk one line, without the report that it leaves behind."""
        for found in CRASH.finditer(said):
            (self.root / found[1]).unlink(missing_ok=True)
        if not any(sign in said for sign in NO_ROOM):
            return said
        free = shutil.disk_usage(self.root).free
        wanted = f"{len(stdin or b''):,} bytes are wanted, {free:,} are free"
        return f"{self.root}: no room for what git writes: {wanted} ({said.splitlines()[0]})"

    def text(self, *arguments: str) -> str:
        """Return what git prints as text without the last newline."""
        return self.run(*arguments).decode(errors="replace").strip()

    def find(self, revision: str) -> str | None:
        """Return the commit that a revision names; None where it names none."""
        try:
            return self.text("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except GitError:
            return None

    def commit(self, revision: str) -> str:
        """Return the commit of a revision, branch, tag or experiment's name; ValueError naming one that is none."""
        found = self.find(revision) or self.experiments().get(revision)
        if found is None:
            raise ValueError(f"{revision!r} is no revision, branch, tag or experiment of {self.root.name}")
        return found

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether one commit is in the history of another."""
        return self.text("rev-list", "--max-count=1", older, f"^{newer}") == ""

    def refs(self, *patterns: str) -> list[tuple[str, str]]:
        """Return (commit, name) of every ref below `patterns`, by default of all."""
        lines = self.text("for-each-ref", f"--format={FORMAT}", *patterns).splitlines()
        return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]

    def can_name_experiments(self, name: str) -> bool:
        """Return whether git takes a name as the last part of an experiment's ref, and DVC as an argument."""
        if not name or "/" in name or name.startswith("-"):
            return False
        try:
            self.run("check-ref-format", f"{EXPERIMENTS}/00/00/{name}")
        except GitError:
            return False
        return True

    def experiments(self) -> dict[str, str]:
        """Return the commit of every DVC experiment by its name; of two of a name, that of the newer baseline's."""
        found = {}
        for commit, ref in self.refs(f"{EXPERIMENTS}/"):
            parts = ref.split("/")
            if len(parts) == 5 and parts[2] not in INTERNAL:
                found[parts[4]] = commit
        return found

    def contents(self, objects: Sequence[str]) -> Iterator[bytes | None]:
        """Return the bytes of each object, such as `<commit>:<path>`, in order; None where it does not exist."""
        if not objects:
            return
        output = self.run("cat-file", "--batch", stdin=("\n".join(objects) + "\n").encode())
        start = 0
        for name in objects:
            end = output.index(b"\n", start)
            header = output[start:end]
            if header.endswith(b" missing") or not header.rsplit(b" ", 1)[-1].isdigit():
                start = end + 1
                yield None
                continue
            size = int(header.rsplit(b" ", 1)[-1])
            start = end + 1 + size + 1
            if size and start > len(output):
                raise GitError(f"{name} is cut short")
            yield output[end + 1 : end + 1 + size]

    def files(self, tree: str, folder: str = "") -> dict[str, str]:
        """Return path -> object of every file of a revision, or of a folder of it; empty where that does not exist."""
        if self.find(tree) is None:
            return {}
        listed = self.run("ls-tree", "-r", "-z", tree, *([folder] if folder else []))
        lines = listed.decode(errors="replace").split("\0")
        return {line.split("\t", 1)[1]: line.split("\t", 1)[0].split(" ")[2] for line in lines if line}

    def is_shallow(self) -> bool:
        """Return whether the clone lacks older commits."""
        return self.text("rev-parse", "--is-shallow-repository") == "true"

    def config(self, key: str) -> str | None:
        """Return a setting of this repository; None where it is not set."""
        try:
            return self.text("config", "--local", "--get", key)
        except GitError:
            return None

    def set_config(self, key: str, value: str) -> None:
        """Write a setting of this repository."""
        self.run("config", "--local", key, value)


def is_path(path: str) -> bool:
    """Return whether a path has only the signs of the ledger's: a line end would begin a command of its own."""
    return re.fullmatch(r"[\w./-]+", path, re.ASCII) is not None


def file_commands(files: Mapping[str, bytes | None]) -> Iterable[bytes]:
    """Return the lines of `git fast-import` that put files into a commit, or take those without content out of it.

    GitError for a path with other signs than the ledger's, since paths come from remotes.
    """
    for path, content in files.items():
        if not is_path(path):
            raise GitError(f"{path!r} is no file of a ledger")
        if content is None:
            yield f"D {path}\n".encode()
            continue
        yield f"M 100644 inline {path}\ndata {len(content)}\n".encode()
        yield content + b"\n"
