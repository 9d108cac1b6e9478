"""How Sphinx builds the site out of the folder that `python docs/site` writes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "src")]

import recurra  # noqa: E402

project = "Recurra"
version = release = recurra.__version__
html_title = f"Recurra {release}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
myst_enable_extensions = ["dollarmath"]
myst_dmath_allow_space = False
myst_dmath_allow_digits = False
myst_heading_anchors = 4

default_role = "py:obj"  # a name in a docstring leads to its page, where it has one
autodoc_member_order = "bysource"
maximum_signature_line_length = 60
napoleon_use_ivar = True
smartquotes = False  # two hyphens are an option
nitpicky = True
nitpick_ignore_regex = [("py:.*", "(?s:.*)")]  # types of torch and others have no page here

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Any) -> None:
    """Have docstrings, equations, names and the search be read as the house writes them.

    Args:
        app: Sphinx.
    """
    from search import Search

    app.connect("autodoc-process-docstring", _as_rst, priority=100)  # before napoleon
    app.connect("autodoc-skip-member", _skipped)
    app.connect("missing-reference", _public_name)
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.add_search_language(Search)


def _as_rst(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    from docstrings import in_rst

    if what == "attribute":  # of which napoleon takes what stands before a colon for a type
        lines[:] = "\n".join(lines).replace(": ", ":\n", 1).splitlines()
    lines[:] = in_rst(lines)


def _skipped(app: Any, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn writes into its estimators by itself."""
    return True if "sklearn" in (getattr(thing, "__module__", None) or "") else None


def _public_name(app: Any, env: Any, node: Any, shown: Any) -> Any:
    """Return a link to a name's page, of a type that is said by the module that defines it."""
    from sphinx.util.nodes import make_refnode

    wanted = f"recurra.{node.get('reftarget', '').rpartition('.')[2]}"
    found = env.domains.python_domain.objects.get(wanted)
    if node.get("refdomain") != "py" or found is None:
        return None
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, shown, wanted)


def _inline(translator: Any, node: Any) -> None:
    _typeset(translator, node, display=False)


def _display(translator: Any, node: Any) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math"))
    _typeset(translator, node, display=True, end="</div>\n")


def _typeset(translator: Any, node: Any, *, display: bool, end: str = "") -> None:
    from docutils.nodes import SkipNode
    from equations import in_mathml

    translator.body.append(in_mathml(node.astext(), display=display) + end)
    raise SkipNode
