"""Equations as docstrings write them, and as a browser typesets them: MathML, and no script."""

from __future__ import annotations

import re

__all__ = ["in_latex", "in_mathml"]

NAMES = "tanh exp log max min clip LN Re mean var rms relu softmax logaddexp sqrt"
FUNCTIONS = {"sigmoid": r"\sigma"} | {each: rf"\operatorname{{{each}}}" for each in NAMES.split()}
GREEK = {
    name: f"\\{name}" for name in ("alpha", "gamma", "epsilon", "lambda", "mu", "nu", "theta")
} | {"eps": r"\epsilon"}
SIGNS = {"*": r"\odot", "...": r"\dots", "<=": r"\le", ">=": r"\ge", "->": r"\to", "|": r"\vert"}
SIGNS |= {sign: sign for sign in "=+-/<>(),;:.[]"}

TOKEN = re.compile(
    r"""(?P<setting>\w+="?\w+"?)
    |(?P<name>[A-Za-z]+(?:'s\b)?)(?:_(?P<sub>\w+|\{[^}]*\}))?
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<power>\^(?:\w|\{[^}]*\}))
    |(?P<prime>')(?:_(?P<under>\w+))?
    |(?P<dot>(?<=\s)\.(?=\s))
    |(?P<sign>\.\.\.|<=|>=|->|[*=+\-/<>(),;:.|\[\]])
    |(?P<gap>[ ]{2,})
    |(?P<space>[ ])""",
    re.X,
)


def in_latex(lines: list[str]) -> str | None:
    """Return the LaTeX of equations as a docstring writes them, or None of what are none.

    Args:
        lines: such as `h' = (1 - z) * n + z * h`, aligned at the first sign of equality.

    Example:
        >>> in_latex(["h' = (1 - z) * h_ih"])
        "\\\\begin{aligned}h' & = ( 1 - z ) \\\\odot h_{ih}\\\\end{aligned}"
    """
    if not any(re.match(r"[^=]+ = ", line) for line in lines):
        return None
    rows = [_row(line.strip()) for line in lines]
    if None in rows:
        return None
    return r"\begin{aligned}" + r" \\ ".join(str(row) for row in rows) + r"\end{aligned}"


def _row(line: str) -> str | None:
    """Return one line, with a mark where it is aligned; None where a sign is not known."""
    parts: list[str] = []
    place = 0
    while place < len(line):
        found = TOKEN.match(line, place)
        if found is None:
            return None
        parts.append(_part(found))
        place = found.end()
    said = re.sub(r" {2,}", " ", " ".join(parts)).replace(" '", "'")
    said = re.sub(r"\\text\{ ?([^}]*?) ?\}(?: \\text\{([^}]*)\})+", _joined, said)
    aligned = " = " in said and not said.endswith(":")
    return said.replace(" = ", " & = ", 1) if aligned else f"& {said}"


def _joined(words: re.Match[str]) -> str:
    """Return words that follow each other as one text."""
    inner = re.findall(r"\\text\{ ?([^}]*?) ?\}", words[0])
    return rf"\text{{ {' '.join(inner)} }}"


def _part(found: re.Match[str]) -> str:
    """Return one token."""
    if found["setting"]:
        return rf"\text{{{found['setting']}}}".replace("_", r"\_")
    if found["name"]:
        return _name(found["name"], found["sub"])
    if found["prime"]:
        return "'" + (f"_{{{found['under']}}}" if found["under"] else "")
    if found["dot"]:
        return r"\cdot"
    if found["sign"]:
        return SIGNS[found["sign"]]
    if found["gap"]:
        return r"\quad"
    return found["number"] or found["power"] or ""


def _name(name: str, sub: str | None) -> str:
    """Return a letter, a Greek one, a function, or a word, with what stands below it."""
    if name == "sum" and sub:
        said = r"\sum"
    elif name in FUNCTIONS | GREEK:
        said = (FUNCTIONS | GREEK)[name]
    else:
        said = name if len(name) == 1 else rf"\text{{ {name} }}"
    if sub is None:
        return said
    inner = sub.strip("{}").replace("_", ",")
    long = len(inner) > 2 and inner.isalpha()
    return said + (rf"_{{\text{{{inner}}}}}" if long else f"_{{{inner}}}")


def in_mathml(latex: str, *, display: bool) -> str:
    """Return the MathML of LaTeX.

    Args:
        latex: as between dollars.
        display: on a line of its own.
    """
    from latex2mathml.converter import convert

    latex = latex.replace("{aligned}", "{split}")  # the same, by the name that it knows
    return convert(latex, display="block" if display else "inline")
