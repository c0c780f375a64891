"""make restore: bring back the last good results that a failed or stopped run took away. params.yaml stays as it is.

DVC deletes a stage's results before it runs the stage, and records new ones only when it has ended well: what dvc.lock
has is the last good state, and the cache holds it. The few files that git keeps come from the last commit.
"""

from __future__ import annotations

import subprocess

from stages.running.rwlock import remove_broken_rwlock
from stages.running.stage import UNTOUCHED, StageError, run


def main() -> None:
    """Bring back the committed results: the files that git holds and those in DVC's cache."""
    deleted = git("ls-files", "--deleted", "-z", "--", "results").split("\0")
    files = [path for path in deleted if path]
    if files:
        git("checkout", "--quiet", "HEAD", "--", *files)
    remove_broken_rwlock()
    restored = subprocess.run(["dvc", "checkout", "--force"], check=False, capture_output=True, text=True)
    if restored.returncode:
        raise StageError(
            f"DVC's cache does not hold all of them: {restored.stderr.strip()}. Run: dvc pull, or dvc repro"
        )
    print(restored.stdout.strip() or "Nothing was missing.")
    print("The results are those in dvc.lock. params.yaml is as you left it: dvc repro goes on from there.")


def git(*arguments: str) -> str:
    """Return what a git command prints; StageError if it fails."""
    done = subprocess.run(["git", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise StageError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    run("restore", main, hint=UNTOUCHED)
