r"""The equations of a docstring, as they stand there in plain letters, set for Markdown.

`sigmoid(W_ih x) * c'` becomes `\sigma(W_{ih} x) \odot c'`. What a cell computes is written once, in
its docstring; the page of cells is made from that.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

FUNCTIONS = {
    "sigmoid": r"\sigma",
    "tanh": r"\tanh",
    "exp": r"\exp",
    "log": r"\log",
    "max": r"\max",
    **{
        name: rf"\operatorname{{{name}}}"
        for name in ("relu", "mean", "var", "clip", "logaddexp", "LN", "Re")
    },
}
LETTERS = {
    "lambda": r"\lambda",
    "nu": r"\nu",
    "theta": r"\theta",
    "gamma": r"\gamma",
    "eps": r"\varepsilon",
    "wkv": r"\mathrm{wkv}",
}
SIGNS = {"*": r"\odot", ".": r"\cdot", "...": r"\ldots", "^T": r"^{\top}"}
TOKEN = re.compile(r"\.\.\.|\^T|[A-Za-z]+'?(?:_[A-Za-z0-9]+)*'?|\d+|\S| ")
OPTION = re.compile(r"(\w+)=\"?(\w+)\"?")


def described(docstring: str) -> str:
    """Return what a docstring says before its sections, its equations set between `$$`.

    Args:
        docstring: of a cell.
    """
    lead = re.split(r"^(?:Shapes|Args):", inspect.cleandoc(docstring), maxsplit=1, flags=re.M)[0]
    parts = []
    within = not re.search(r"^    ", lead, re.M)  # of a sentence, where there is no block
    for paragraph in re.split(r"\n\s*\n", lead.strip()):
        if paragraph.startswith("    "):
            parts.append(block(paragraph.splitlines()))
            continue
        parts.append(" ".join(paragraph.split()))
        if within:
            parts += [block([said]) for said in re.findall(r"`(\w+' = [^`]+)`", paragraph)]
    return "\n\n".join(parts)


def block(lines: list[str]) -> str:
    """Return lines of equations as one block, the signs of equality below each other.

    Args:
        lines: of a docstring, indented.
    """
    rows = [row for line in lines for row in rows_of(line)]
    return "\n".join(["$$", r"\begin{aligned}", " \\\\\n".join(rows), r"\end{aligned}", "$$"])


def rows_of(line: str) -> Iterator[str]:
    """Yield the rows of a line: what stands apart by spaces is another, or a note to the last.

    Args:
        line: of equations.
    """
    row = ""
    for part in re.split(r" {2,}", line.strip()):
        if "=" in part and not OPTION.fullmatch(part):
            if row:
                yield row
            row = set_out(part.removesuffix(","))
            first = part.split()[0]
            row = f"&{row}" if first in ("for",) else row.replace("=", "&=", 1)
        elif row:
            row += rf"\qquad {note(part)}"
        else:
            row = f"&{note(part)}"
    yield row


def note(part: str) -> str:
    """Return words set as words, and what has a subscript among them as a letter.

    Args:
        part: of a line.
    """
    if option := OPTION.fullmatch(part):
        return rf"\text{{{option[1].replace('_', ' ')} = {option[2]}}}"
    pieces = re.split(r"(\b\w_\w+\b)", part)
    return "".join(
        letter(piece) if n % 2 else rf"\text{{{piece}}}" for n, piece in enumerate(pieces) if piece
    )


def set_out(part: str) -> str:
    """Return an equation set: letters with their subscripts, functions, and words as words.

    Args:
        part: of a line.
    """
    part = re.sub(r"sum over (.+?) of", lambda over: f"\0{over[1]}\1", part)
    found: list[str] = []
    closing: list[str] = []  # what each open bracket ends in
    words: list[str] = []
    tokens = TOKEN.findall(part)
    for n, token in enumerate(tokens):
        if is_word(token):
            words.append(token)
            continue
        if words and token != " ":
            found.append(rf"\text{{ {' '.join(words)} }}")
            words = []
        after = tokens[n + 1] if n + 1 < len(tokens) else ""
        if token == "sqrt" and after == "(":
            found.append(r"\sqrt")
        elif token == "(":
            root = bool(found) and found[-1] == r"\sqrt"
            closing.append("}" if root else ")")
            found.append("{" if root else "(")
        elif token == ")":
            found.append(closing.pop())
        elif token in "\0\1":
            found.append(r"\sum_{" if token == "\0" else "} ")
        elif token[0].isalpha():
            found.append(letter(token))
        else:
            found.append(SIGNS.get(token, token))
    if words:
        found.append(rf"\text{{ {' '.join(words)}}}")
    return re.sub(r" +", " ", "".join(found)).strip()


def is_word(token: str) -> bool:
    """Return whether a token is a word of English, which equations have a few of.

    Args:
        token: of a line.
    """
    known = token in FUNCTIONS or token in LETTERS or token == "sqrt"
    return token.isalpha() and len(token) > 1 and not known


def letter(token: str) -> str:
    """Return a letter with its subscripts and prime, or a function.

    Args:
        token: of a line.
    """
    if token in FUNCTIONS:
        return FUNCTIONS[token]
    base, *below = token.split("_")
    prime = "'" * (token.count("'"))
    base = base.rstrip("'")
    below = [each.rstrip("'") for each in below]
    set_below = [each if len(each) < 3 else rf"\text{{{each}}}" for each in below]
    under = f"_{{{','.join(set_below)}}}" if below else ""
    return f"{LETTERS.get(base, base)}{under}{prime}"
