"""Files by their digest, out of DVC's cache, else out of its remote; nothing else is fetched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from factor_experiments.lock import DIGEST
from factor_metrics.json_document import as_written, parse_document

DEFAULT_CACHE = Path(".dvc") / "cache" / "files" / "md5"
FOLDER = ".dir"
"""How the digest of a folder ends: it is that of its listing."""


def folder_digest(folder: Path) -> str:
    """Return the digest by which DVC knows a folder: the md5 of the list of its files with theirs."""
    files = [
        {"md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), "relpath": name}
        for name, path in sorted(
            (one.relative_to(folder).as_posix(), one) for one in folder.rglob("*") if one.is_file()
        )
    ]
    return hashlib.md5(json.dumps(files).encode(), usedforsecurity=False).hexdigest() + FOLDER


class Stored:
    """What DVC keeps for the repository in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._repo: Any = None
        self.unreachable: str | None = None
        """Why the remote could not be asked; None where it could, or was not needed."""

    def digest(self, out: str, file: str) -> str | None:
        """Return the md5 of a file of an output: `out` itself, or of a folder what its listing says.

        None where the folder has no such file, or neither cache nor remote has the listing.
        """
        if not out.endswith(FOLDER):
            return out
        listing = self.content(out)
        where = f"the listing {out} of DVC's cache"
        with as_written(where):
            files: list[dict[str, str]] = [] if listing is None else parse_document(listing, where)
            return next((one["md5"] for one in files if one["relpath"] == file and DIGEST.fullmatch(one["md5"])), None)

    def file(self, out: str, file: str) -> bytes | None:
        """Return the content of a file of an output, as `digest` finds it; None where it is nowhere."""
        md5 = self.digest(out, file)
        return None if md5 is None else self.content(md5)

    def cached(self, md5: str) -> bytes | None:
        """Return the file with this digest where DVC's cache has it; no remote is asked."""
        path = self.root / DEFAULT_CACHE / md5[:2] / md5[2:]
        if not path.is_file():
            path = Path(self._dvc().cache.local.oid_to_path(md5))
        return path.read_bytes() if path.is_file() else None

    def cached_digest(self, out: str, file: str) -> str | None:
        """Return the md5 of a file of an output as `digest` does; None where the cache has no listing of a folder."""
        return self.digest(out, file) if not out.endswith(FOLDER) or self.cached(out) is not None else None

    def content(self, md5: str) -> bytes | None:
        """Return the file with this digest; None where neither cache nor remote has it.

        What the remote has goes into the cache, so it is fetched once.
        """
        found = self.cached(md5)
        if found is None:
            self._fetch(md5)
            found = self.cached(md5)
        return found

    def _dvc(self) -> Any:
        """Return DVC's own view of the repository, which takes a second to load and few calls need.

        ValueError where there is none, as in a clone of which no commit is checked out, or its settings are damaged.
        """
        if self._repo is None:
            from dvc.exceptions import DvcException
            from dvc.repo import Repo

            try:
                self._repo = Repo(str(self.root))
            except DvcException as error:
                raise ValueError(f"{self.root}: DVC cannot open the repository that is checked out: {error}") from None
        return self._repo

    def _fetch(self, md5: str) -> None:
        from dvc.config import NoRemoteError
        from dvc.exceptions import DvcException
        from dvc_data.hashfile.hash_info import HashInfo

        if self.unreachable is not None:
            return
        try:
            remote = self._dvc().cloud.get_remote_odb()
            if not remote.fs.exists(remote.oid_to_path(md5)):
                return
            # Of a folder the listing alone: `pull` would bring all of its files.
            self._dvc().cloud.transfer(remote, self._dvc().cache.local, [HashInfo("md5", md5)], shallow=True)
        except NoRemoteError:
            self.unreachable = "DVC has no remote here"
        except (DvcException, ImportError, OSError, ValueError) as error:  # ImportError: s3 without dvc-s3
            self.unreachable = f"DVC's remote cannot be read ({error})"
