"""How Sphinx builds the site: `make docs`. Offline: nothing is fetched while building, and nothing while reading."""

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))
import reference_pages

project = "PaCX"
author = copyright = "The PaCX developers"
version = release = metadata.version("pacx")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["results"]
default_role = "literal"
nitpicky = True
# Types of other libraries, and ours that are not public, have no page: signatures name them without a link.
nitpick_ignore_regex = [("py:.*", ".*")]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"PaCX {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def _list_decisions(_: Sphinx, name: str, source: list[str]) -> None:
    """Put every decision below the page that lists them; in the file itself, a code viewer would show the directive."""
    if name == "adr/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n0*\n```\n"


def _open_where_the_reader_is(_: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Unfold the navigation along the way to its page alone: furo's whole tree on each is two fifths of a build."""
    if whole := context.get("toctree"):
        context["toctree"] = lambda **asked: whole(**{**asked, "collapse": True})


def setup(app: Sphinx) -> None:
    """Write the pages of the reference before Sphinx looks which pages there are."""
    app.connect("builder-inited", lambda _: reference_pages.write(Path(__file__).parent / "reference"))
    app.connect("source-read", _list_decisions)
    app.connect("html-page-context", _open_where_the_reader_is, priority=400)  # before furo asks, at 500
