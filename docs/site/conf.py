"""How Sphinx makes the pages of docs/ and the docstrings of the packages into a site (make site)."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

project = "Factorcast"
copyright = "the Factorcast authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "sphinx_copybutton"]
exclude_patterns = ["site/_build"]
root_doc = "index"
html_theme = "furo"
html_title = "Factorcast"
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = True
nitpicky = False

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False


def write_llms_txt(app: Sphinx, exception: Exception | None) -> None:
    """`llms.txt`: every page with its first sentence, for readers that are programs (llmstxt.org)."""
    if exception is not None or app.builder.name != "html":
        return
    lines = [f"# {project}", "", "> Forecasts of the cross-section of asset returns: a DAG, packages, statistics.", ""]
    for page in sorted(app.env.found_docs):
        said = next((one.astext() for one in app.env.get_doctree(page).findall(nodes.paragraph)), "")
        sentence = re.split(r"(?<=[.:])\s", " ".join(said.split()))[0].rstrip(":")
        lines.append(f"- [{app.env.titles[page].astext()}]({page}.html): {sentence}")
    (Path(app.outdir) / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def link_inside(app: Sphinx, page: str, source: list[str]) -> None:
    """Links out of docs/ lead to the site's own copy of that page."""
    source[0] = source[0].replace("(../CONTRIBUTING.md", "(site/contributing.md")


def escape_bars(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """|x| is an absolute value in our docstrings, not a substitution of reStructuredText."""
    lines[:] = [
        "".join(part if part[:1] == "`" else part.replace("|", r"\|") for part in re.split(r"(`[^`]*`)", line))
        for line in lines
    ]


def leave_out(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """scikit-learn's metadata routing has pages of its own."""
    return True if re.fullmatch(r"[sg]et_(\w+_request|metadata_routing)", name) else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", link_inside)
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("autodoc-skip-member", leave_out)
    app.connect("build-finished", write_llms_txt)
