"""The contract of a recurrence, asked part by part, the cause before what comes of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from recurra.errors import ConfigError, RecurraError, in_one_line, with_place
from recurra.nn.contract import form, kept, kernel, numbers, purity, rows, sizes, slopes, transforms
from recurra.nn.contract import time as steps
from recurra.nn.contract.result import Checked, Failure
from recurra.nn.contract.subject import Subject, seeded
from recurra.nn.make import require_cell
from recurra.nn.proven import trusting

__all__ = ["check", "first_failure"]


class Part(NamedTuple):
    """A part of the contract: what holds, in a sentence, and what finds out whether it does."""

    name: str
    holds: str
    find: Callable[[Subject], Iterator[str]]
    first: bool = False
    """Whether the parts after it mean nothing where it fails."""
    needs: tuple[str, ...] = ()
    """Parts of whose failing a failure of this one comes."""


PARTS = (
    Part("made", "it can be made, and all that it learns is registered", form.made, first=True),
    Part("start", "initial_state() heeds batch_size, dtype and device", form.starts, first=True),
    Part(
        "step",
        "a step takes any batch and gives an output and a state of its shapes and dtypes",
        form.steps,
        first=True,
    ),
    Part("sequences", "sequences run", kernel.runs, first=True),
    Part(
        "settings",
        "the settings of the process are left as they were",
        purity.sets_nothing,
        first=True,
    ),
    Part(
        "randomness",
        "nothing is random, and no global generator is drawn from",
        purity.draws_nothing,
        first=True,
    ),
    Part(
        "in place",
        "input, state and parameters are left as they were",
        purity.changes_nothing,
        first=True,
    ),
    Part(
        "memory",
        "nothing is kept on the module between calls",
        purity.remembers_nothing,
        first=True,
    ),
    Part(
        "dtypes",
        "float64, float32, bfloat16 and float16 stay what they are",
        numbers.of_every_dtype,
        first=True,
    ),
    Part("precision", "float64 is float64 all the way", numbers.precise, first=True),
    Part("float32", "float32 gives about the numbers of float64", numbers.in_float32, first=True),
    Part("rows", "a row alone is the row in a batch, in any order", rows.keep_apart),
    Part("NaN", "a NaN stays in its row, and is seen there", rows.pass_nan, needs=("rows",)),
    Part("modes", "training mode changes nothing, but for what wrappers draw", purity.modes_agree),
    Part(
        "gradients of a step",
        "gradients of a step are those of finite differences",
        slopes.of_steps,
    ),
    Part(
        "kernel",
        "the kernel, if any, is the loop over the step, forward and backward",
        kernel.is_the_step,
    ),
    Part("sharing", "what is returned shares no memory with what was given", kernel.shares_nothing),
    Part(
        "steps",
        "step by step is the whole sequence, and all states are those of the steps",
        steps.steps_are_the_whole,
        needs=("kernel",),
    ),
    Part(
        "pieces",
        "pieces, the state carried, saved and read back, are the whole",
        steps.chunks_are_the_whole,
        needs=("kernel", "steps"),
    ),
    Part(
        "future",
        "later steps change no earlier output",
        kernel.sees_no_future,
        needs=("kernel", "steps"),
    ),
    Part(
        "lengths",
        "lengths, masks and resets leave each row as if it stood alone",
        steps.rows_end_and_begin,
        needs=("kernel", "rows", "steps"),
    ),
    Part(
        "gradients",
        "gradients through sequences are those of finite differences",
        slopes.of_sequences,
        needs=("kernel", "gradients of a step"),
    ),
    Part(
        "gradients of rows",
        "no gradient passes between rows",
        slopes.keep_apart,
        needs=("rows", "kernel"),
    ),
    Part(
        "padding",
        "zeros, as padding is, give finite outputs and gradients",
        slopes.are_finite,
        needs=("NaN",),
    ),
    Part("saving", "state_dict, deepcopy and functional_call hold all of it", kept.can_be_saved),
    Part(
        "other sizes",
        "many rows and steps, large inputs and other widths change nothing of this",
        sizes.at_other_sizes,
        needs=("rows", "kernel", "gradients of a step", "gradients", "saving"),
    ),
    Part("device", "all that it makes is where its input is", numbers.on_every_device),
    Part(
        "wrappers",
        "inside of wrappers it is the same",
        kept.stands_in_wrappers,
        needs=("kernel", "rows", "steps", "lengths"),
    ),
    Part(
        "second derivatives",
        "the gradient of a gradient is that of finite differences",
        transforms.twice,
        needs=("kernel", "gradients of a step", "gradients"),
    ),
    Part("vmap", "torch.func.vmap gives the same", transforms.agree, needs=("kernel", "rows")),
    Part("autocast", "torch.autocast gives about the same", transforms.under_autocast),
    Part(
        "compile",
        "torch.compile gives the same",
        transforms.compiles,
        needs=("kernel", "device", "rows"),
    ),
    Part("gates", "gates, if any, are of each row, and change nothing", rows.has_gates),
)


def check(cell: Any, input_size: int | None = None, output_size: int | None = None) -> Checked:
    """Check whether a cell or wrapper keeps the contract on which everything here rests.

    A step is a function of its input, its state and its weights alone; rows know nothing of each
    other; a sequence is its steps, however it is cut; gradients are those of finite differences;
    a kernel is the loop over the step. Each failure is one sentence with the smallest input
    that shows it, the cause before what comes of it. It takes some seconds.

    Args:
        cell: a cell or wrapper, which stays as it is; a class or a function of the two sizes; or a
            name, also as `module:Name`, with options or without.
        input_size: I, of what is made here; 3, or what it takes, by default.
        output_size: O, of what is made here; 4, or what it takes, by default.

    Raises:
        ConfigError: it is no recurrence, nor makes one; no cell has that name.

    Example:
        >>> from recurra.nn.cells.gru import GRUCell
        >>> check(GRUCell).ok
        True
    """
    begun = time.monotonic()
    subject = _subject(cell, input_size, output_size)
    failures: list[Failure] = []
    passed: list[str] = []
    unchecked: list[str] = []
    for part, found in _asked(subject):
        if found is None:
            unchecked.append(part.name)
        elif found:
            failures += found
        else:
            passed.append(part.holds)
    return Checked(
        subject.name,
        tuple(failures),
        tuple(passed),
        tuple(unchecked),
        tuple(dict.fromkeys(subject.limits)),
        round(time.monotonic() - begun, 2),
    )


def first_failure(
    cell: Any, input_size: int | None = None, output_size: int | None = None
) -> Failure | None:
    """Return what `check` would find first, without going on; None where all holds.

    Args:
        cell: as `check` takes it.
        input_size: I, of what is made here; 3, or what it takes, by default.
        output_size: O, of what is made here; 4, or what it takes, by default.

    Example:
        >>> first_failure(lambda i, o: 5).said
        'check takes a cell or wrapper, got int'
    """
    asked = _asked(_subject(cell, input_size, output_size))
    return next((found[0] for _, found in asked if found), None)


def _asked(subject: Subject) -> Iterator[tuple[Part, list[Failure] | None]]:
    """Yield each part with what is wrong in it; None where it rests on one that failed."""
    broken: set[str] = set()
    stopped = False
    for part in PARTS:
        if stopped or broken.intersection(part.needs):
            yield part, None
            continue
        found = [Failure(part.name, said) for said in _found(part, subject)]
        if found:
            broken.add(part.name)
            stopped = part.first
        yield part, found


def _found(part: Part, subject: Subject) -> list[str]:
    try:
        with trusting(), seeded(0), warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            with purity.restoring():
                return list(part.find(subject))
    except Exception as error:  # a cell of the user's may raise anything
        if isinstance(error, RecurraError) and part.name == "made":
            return [f"{with_place(error)}{subject.tried}"]
        tried = subject.tried if part.name == "made" else ""
        return [f"{subject.doing} raises {in_one_line(error)}{tried}"]


def _subject(cell: Any, input_size: int | None, output_size: int | None) -> Subject:
    if isinstance(cell, nn.Module):
        return Subject(cell, type(cell).__name__)
    name = getattr(cell, "__name__", type(cell).__name__)
    if isinstance(cell, str):
        make, options = require_cell(cell)
        name, cell = cell, partial(make, **options)
    if not callable(cell):
        raise ConfigError(
            f"check takes a cell or wrapper, what makes one of two sizes, or a name, got {name}"
        )
    with trusting(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sizes.sized(cell, name, input_size, output_size)
