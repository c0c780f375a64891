"""Pages in a real browser, where this machine has one: what its user sees, without a name that can be resolved."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
with_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: the page is not looked at")


def open_page(page: Path, profile: Path, *flags: str) -> str:
    """Open a page in a fresh browser; return what that prints."""
    assert BROWSER is not None
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
               "--host-resolver-rules=MAP * ~NOTFOUND", *flags, page.as_uri()]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def seen_on(page: Path, profile: Path, *flags: str) -> dict[str, Any]:
    """Return what a script in the page has left as JSON in its element "seen"."""
    found = re.search(r'<pre id="seen">(.*?)</pre>', open_page(page, profile, *flags, "--dump-dom"), re.S)
    assert found is not None, "the page did not load to its end"
    return json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
