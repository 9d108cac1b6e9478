"""`recurra explain`: a text through the eyes of a language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Json,
    Run,
    folded,
    open_console,
    print_json,
    print_lines,
    width,
)
from recurra.cli.places import place

if TYPE_CHECKING:
    from rich.table import Table

    from recurra.language.explanation import Explanation
    from recurra.language.models.base import LanguageModel

__all__ = ["explain"]

_WIDEST_BAR = 20
_WITH_BAR, _WITH_OTHERS = 76, 100
"""Columns from which on a bar stands beside each token, and what was held for likely."""
_LONGEST_TITLE = 80
"""Characters of the text that stand over its picture."""
_BANDS = ((2.0, "green"), (6.0, ""), (9.0, "yellow"))
"""Nats of surprise below which a token is shown in that colour; red above all of them."""


def explain(
    run: Run,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look at, quoted.")],
    layer: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Which layer's gates; in a picture the last."),
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, metavar="N", help="Likelier tokens to show beside each.")
    ] = 3,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=place,
            help="Draw surprise, gates and states into a .png or .svg.",
        ),
    ] = None,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Show how surprised a language model is by each token of a text, and what its gates do.

    Surprise is -log p in nats; the rank counts the tokens it held for likelier, from 1.
    """
    from recurra.language.explanation import explain as look
    from recurra.run.tasks import load_model
    from recurra.storage.picture import require_picture

    if plot is not None:
        require_picture(plot)
    model: LanguageModel = load_model(run, "explain", allow_import=allow_import or ())
    found = look(model, text, top=top)
    if layer is not None and layer > len(found.layers):
        raise typer.BadParameter(_no_such_layer(model, layer, len(found.layers)))
    if json:
        shown = found.as_dict()
        layers = [{"layer": n, **each} for n, each in enumerate(shown.pop("layers"), 1)]
        kept = [each for each in layers if layer in (None, each["layer"])]
        print_json({"run": str(run), "kind": model.kind, **shown, "layers": kept})
    else:
        console = open_console()
        block = "█" if (console.encoding or "").startswith("utf") else "#"
        console.print(_table(found, block, width()))
        print_lines(line for said in _summary(found, model, plot) for line in folded(said) or [""])
        if layer is not None:
            print_lines(_gates(found, layer))
    if plot is not None:
        _draw(found, layer, plot, run.resolve().name, text)


def _no_such_layer(model: LanguageModel, layer: int, count: int) -> str:
    if not count:
        return f"--layer is {layer}, but a model of kind {model.kind} has no layers to look at"
    return f"--layer is {layer}, but the network has {count}: give 1 to {count}"


def _draw(found: Explanation, layer: int | None, path: Path, name: str, text: str) -> None:
    from recurra.language.heat_map import save

    number = layer or len(found.layers) or None
    title = f"\u201c{' '.join(text.split())[:_LONGEST_TITLE]}\u201d as {name} reads it"
    if number is not None:
        cell = found.layers[number - 1].cell
        title += f"\nlayer {number} of {len(found.layers)} ({cell})"
    save(found, path, layer=number, title=title)


def _table(found: Explanation, block: str, room: int) -> Table:
    """Return the table; where there is little room the likely ones go, then the bars."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(
        "token", max_width=24 if room >= _WITH_BAR else max(8, room - 27), overflow="fold"
    )
    for name in ("surprise", "expected", "rank"):
        table.add_column(name, justify="right")
    with_bar, with_others = room >= _WITH_BAR, room >= _WITH_OTHERS
    if with_bar:
        table.add_column("")
    if with_others:
        table.add_column("held for likely", no_wrap=True)
    most = max(float(-found.log_probs.min()), 1.0)
    for n, token in enumerate(found.tokens):
        nats = float(-found.log_probs[n])
        color = next((color for limit, color in _BANDS if nats < limit), "red")
        others = Text("  ").join(
            Text.assemble(_printable(other), (f" {p:.2f}", "dim"))
            for other, p in found.alternatives[n]
        )
        shown = Text(_printable(token), style=color)
        if found.oov[n]:
            shown.append(" <unk>", style="dim")
        bar = Text(block * max(1, round(_WIDEST_BAR * nats / most)), style=color)
        numbers = (f"{nats:.2f}", f"{found.entropies[n]:.2f}", f"{found.ranks[n]:,}")
        table.add_row(shown, *numbers, *[bar] * with_bar, *[others] * with_others)
    return table


def _summary(found: Explanation, model: LanguageModel, plot: Path | None) -> list[str]:
    import numpy as np

    from recurra.language.metrics import format_perplexity

    worst = int(np.argmin(found.log_probs))
    nats = -float(found.log_probs.mean())
    lines = [
        "",
        f"{len(found.tokens)} tokens, {nats:.2f} nats each where {found.entropies.mean():.2f} were "
        f"expected, perplexity {format_perplexity(nats)}; most surprising: "
        f"{_printable(found.tokens[worst])!r}, at rank {found.ranks[worst]:,} of "
        f"{len(model.vocabulary):,}.",
    ]
    if found.layers and plot is None:
        lines.append("--plot FILE draws the gates and states of the network over these tokens.")
    if found.layers and model.inner:
        lines.append(
            f"Surprise is that of the whole model, of kind {model.kind}; gates and states are "
            "those of the first network in it."
        )
    return lines


def _gates(found: Explanation, number: int) -> list[str]:
    """Return the lines that say how far each gate of a layer is open at each token."""
    from recurra.run.figures import laid_out

    layer = found.layers[number - 1]
    what = layer.gates or layer.states
    means = {name: values.mean(axis=1) for name, values in what.items()}
    rows = [["token", *means]]
    for n, token in enumerate(found.tokens):
        rows.append([_printable(token), *(f"{each[n]:.2f}" for each in means.values())])
    units = next(iter(what.values())).shape[1]
    kind = "gate" if layer.gates else "state"
    said = f"Layer {number} of {len(found.layers)}, {layer.cell}: the mean of each {kind} over "
    return ["", *folded(f"{said}{units} units."), *laid_out(rows, width(), [8])]


def _printable(token: Any) -> str:
    if token == " ":
        return "␣"
    return str(token) if str(token).isprintable() else repr(token)[1:-1]
