"""`recurra demo`: small computations, printed in full."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recurra.cli.console import (
    Json,
    folded,
    open_console,
    print_json,
    print_lines,
    printable,
    width,
)
from recurra.cli.places import place
from recurra.cli.usage import list_commands

if TYPE_CHECKING:
    from recurra.demo.explosion import Explosion
    from recurra.demo.gates import Watched
    from recurra.demo.gradients import GradientNorms
    from recurra.demo.truncation import Truncated

__all__ = ["app"]

app = typer.Typer(help="Small computations, printed in full.", invoke_without_command=True)


Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", parser=place, help="Draw it too, into a .png or .svg."),
]
_DISTANCES = (0, 1, 2, 5, 10, 20, 50, 100)


@app.callback()
def _list(context: typer.Context, json: Json = False) -> None:
    """Small computations, printed in full."""
    list_commands(context, json=json, title="commands")


@app.command()
def forward(json: Json = False) -> None:
    """Compute the forward pass of a plain recurrent network by hand: two steps, two units."""
    from recurra.demo import forward as demo

    steps = demo.forward()
    if json:
        print_json({"steps": [dataclasses.asdict(step) for step in steps]})
        return
    console = open_console()
    console.print("h = tanh(h W_hh + x w_xh + b),  y = h W_hy + b_y,  h = 0 at first\n")
    for x, step in zip(demo.INPUTS, steps):
        console.print(f"[bold]x = {x:g}[/bold]")
        for name, values in dataclasses.asdict(step).items():
            shown = "  ".join(f"{value:.8f}" for value in values)
            console.print(f"  {name.replace('_', ' '):18} {shown}")


@app.command()
def gradients(
    cells: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CELL]...", help="Any cells, your own as module:Name."),
    ] = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Measure how much of a gradient comes back through 0 to 100 steps of RNN, GRU and LSTM.

    Beside them an RNN of large weights, whose gradient explodes, and what clipping does to it. Or
    of cells that are named, with what reaches each of their parameters.
    """
    from recurra.demo.explosion import explosion
    from recurra.demo.gradients import gradients as demo
    from recurra.nn.make import require_cell

    _require(plot)
    for each in cells or ():
        require_cell(each)
    found = demo(cells=cells or ())
    explodes = None if cells else explosion(found.distances[-1])
    if json:
        more = {} if explodes is None else {"exploding": dataclasses.asdict(explodes)}
        print_json({**dataclasses.asdict(found), **more})
    else:
        said = (
            "norm of d h_T / d x_(T-k), k steps apart, in fresh networks of "
            f"{found.hidden_size} units, geometric mean of {found.networks}"
        )
        print_lines([*folded(said), "", *_norms(found, explodes)])
        if cells:
            print_lines(["", *_parameters(found)])
        if explodes is not None:
            print_lines(_explosion(explodes))
    if plot is not None:
        from recurra.demo.pictures import draw_norms
        from recurra.storage.picture import canvas

        title = f"Gradients over distance, {found.networks} fresh networks a kind"
        with canvas(plot, 6, 4) as figure:
            draw_norms(figure, found, f"{title}, {found.hidden_size} units", explodes)


def _require(plot: Path | None) -> None:
    if plot is not None:
        from recurra.storage.picture import require_picture

        require_picture(plot)


def _norms(found: GradientNorms, explodes: Explosion | None) -> list[str]:
    from recurra.demo.pictures import NAMES
    from recurra.run.figures import laid_out

    rows = [["", "a step", *(f"k = {k}" for k in _DISTANCES)]]
    for kind, norms in found.norms.items():
        figures = (f"{norms[k]:.2g}" for k in _DISTANCES)
        rows.append([NAMES.get(kind, kind), f"x {found.rate(kind):.2f}", *figures])
    if explodes is not None:
        figures = (f"{explodes.norms[k]:.2g}" for k in _DISTANCES)
        rows.append([f"RNN, weights x {explodes.times:g}", f"x {explodes.rate:.2f}", *figures])
    fallen = [
        f"the {NAMES.get(kind, kind)} " + (f"after {k} steps" if k else "not within 100 steps")
        for kind, k in ((kind, found.falls_to(kind, 1e-3)) for kind in found.norms)
    ]
    fall = f"The norm falls below a thousandth of that at k = 0: {'; '.join(fallen)}."
    why = (
        "Every step multiplies it by about the same factor, so what lies far back is hardly "
        "learned from; an LSTM's factor grows with its forget gate, which in a fresh network is "
        "near sigmoid(bias): 0.73 for a bias of 1, 0.95 for 3."
    )
    table = laid_out(rows, width(), [19, 0, *(8 for _ in _DISTANCES)])
    return [*table, "", *folded(fall), *folded(why)]


def _parameters(found: GradientNorms) -> Iterator[str]:
    """Yield what reaches each parameter of each cell."""
    yield from folded("norm of the gradient of the last output's sum, by parameter")
    for kind, norms in found.parameters.items():
        told = ", ".join(f"{name} {norm:.2g}" for name, norm in norms.items())
        yield from folded(f"{kind}: {told}", indent=2)


def _explosion(found: Explosion) -> Iterator[str]:
    """Yield what the network of large weights does, and what clipping does to its gradient."""
    step = found.training
    for said in (
        f"In an RNN of recurrent weights {found.times:g} times as large (spectral radius "
        f"{found.spectral_radius:.2f}) every step multiplies it by {found.rate:.2f}: it explodes.",
        f"Learning from {step.steps} steps, the gradient of all weights has a norm of "
        f"{step.unclipped.gradient_norm:.0f}. At a rate of {step.learning_rate:g} the step would "
        f"have been {step.unclipped.step_norm:.0f} long, where all weights together are "
        f"{step.weight_norm:.0f}, and the loss would have gone from {step.loss:.2f} to "
        f"{step.unclipped.loss:.2f}.",
        f"Clipped to a norm of {step.clipped.gradient_norm:g} it points the same way, the step is "
        f"{step.clipped.step_norm:g} long, and the loss goes to {step.clipped.loss:.2f}.",
    ):
        yield from folded(said)


@app.command()
def truncation(plot: Plot = None, json: Json = False) -> None:
    """Learn bits that are asked for again 3, 10 and 20 steps later, by chunks of 5, 20 and 35."""
    from recurra.demo.truncation import truncation as demo

    _require(plot)
    found = demo()
    if json:
        print_json({"chunks": [dataclasses.asdict(each) for each in found]})
    else:
        print_lines(_chunks(found))
    if plot is not None:
        from recurra.demo.pictures import draw_truncation
        from recurra.storage.picture import canvas

        with canvas(plot, 7, 4.4) as figure:
            draw_truncation(figure, found, "What a chunk does not reach is not learned")


def _chunks(found: list[Truncated]) -> list[str]:
    from recurra.demo.truncation import CHANCE
    from recurra.run.figures import laid_out

    distances = list(found[0].losses)
    rows = [["chunk", *(f"{d} steps ago" for d in distances), "mean", "steps", "took"]]
    for each in found:
        losses = (f"{loss:.3f}" for loss in (*each.losses.values(), each.loss))
        rows.append([str(each.chunk_length), *losses, str(each.steps), f"{each.seconds:.1f} s"])
    head = (
        "nats for a bit that was written some steps ago and is asked for, its state carried from "
        f"chunk to chunk; by guessing it is ln 2 = {CHANCE:.3f}"
    )
    told = [
        f"a chunk of {each.chunk_length} "
        + (f"the bits of {_and(known)} steps ago" if known else "none")
        for each in found
        for known in [[d for d, loss in each.losses.items() if loss < CHANCE / 2]]
    ]
    why = (
        "All read the same stream, as often, from the same weights. What was written before the "
        "chunk began is in the state, but no gradient says that it should have been kept. Long "
        "chunks hold more in memory, and update the weights less often."
    )
    table = laid_out(rows, width(), [5, *(11 for _ in distances), 5, 5, 6])
    learned = f"Learned, to below half of that: by {'; by '.join(told)}."
    return [*folded(head), "", *table, "", *folded(learned), *folded(why)]


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@app.command()
def gates(
    text: Annotated[
        str | None,
        typer.Argument(metavar="[TEXT]", help="A sentence to watch them over, word by word."),
    ] = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Train an LSTM of one unit to remember a bit until it is reset, and watch its gates.

    Over a sentence, where one is given: a bracket that opens writes, one that closes resets.
    """
    from recurra.demo.gates import gates as demo

    _require(plot)
    watched = demo() if text is None else demo(text=text)
    words = tuple(printable(word) for word in (text or "").split())
    if json:
        losses = {"steps": len(watched.losses), "loss": watched.losses[-1]}
        shown = dataclasses.asdict(watched)
        del shown["losses"]
        print_json({**shown, "training": losses})
    else:
        console = open_console()
        for line, did in _steps(watched, words):
            console.print(line, style="bold" if did else None, markup=False)
        print_lines(_summary(watched))
    if plot is not None:
        from recurra.demo.pictures import draw_latch
        from recurra.storage.picture import canvas

        what = "over a sentence" if words else "that remembers a bit until a reset"
        with canvas(plot, *((6.4, 5.6) if words else (11, 5.2))) as figure:
            draw_latch(figure, watched, f"The gates of one LSTM unit {what}", words)


def _steps(watched: Watched, words: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the lines of a table, and whether at each something is written or reset."""
    from recurra.run.figures import laid_out

    series = {**watched.gates, **watched.states}
    rows, written = (
        [["word" if words else "step", "value", "", *series, "output", "target"]],
        [False],
    )
    inputs = zip(*(watched.inputs[name] for name in ("value", "write", "reset")))
    for t, (value, write, reset) in enumerate(inputs):
        did = "write" if write else "reset" if reset else ""
        figures = (f"{each[t]:.2f}" for each in series.values())
        last = f"{watched.output[t]:.2f}", f"{watched.target[t]:g}"
        rows.append([words[t] if words else str(t), f"{value:.2f}", did, *figures, *last])
        written.append(bool(did))
    lines = laid_out(rows, width(), [0, 5, 7, *(5 for _ in series), 6, 6])
    return [(line, bool(did)) for line, did in zip_longest(lines, written)]


def _summary(watched: Watched) -> list[str]:
    means = watched.means
    said = [
        f"to {kind} the input gate is at {mean['i']:.2f} and the forget gate at {mean['f']:.2f}"
        for kind, mean in means.items()
    ]
    steps, right = len(watched.losses), watched.accuracy
    sentences = [
        *(f"On average, {each}." for each in said[:1]),
        *(f"{each[:1].upper()}{each[1:]}." for each in said[1:]),
        "So c' = f c + i g takes the bit, keeps it, and loses it.",
        f"Trained {steps} steps; on fresh sequences {right:.2%} of the steps come out right.",
    ]
    return ["", *(line for sentence in sentences for line in folded(sentence))]
