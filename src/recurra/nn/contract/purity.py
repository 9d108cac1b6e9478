"""Whether a step is a function: of its input, its state and its weights, and of nothing else.

B rows, T steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurra.nn.contract.subject import (
    MODES,
    OWN,
    Results,
    Subject,
    copied,
    differing,
    draws,
    generators,
    looks_ahead,
    named,
    seeded,
    shown,
)
from recurra.nn.state import State, flatten
from recurra.nn.unroll import unroll
from recurra.nn.wrappers.base import Recurrence

__all__ = [
    "changes_nothing",
    "draws_nothing",
    "in_words",
    "modes_agree",
    "remembers_nothing",
    "restoring",
    "sets_nothing",
]


def in_words(training: bool, graded: bool) -> str:
    """Return in which mode something was, to be put behind it.

    Args:
        training: in training mode.
        graded: with gradients.

    Example:
        >>> in_words(True, False), in_words(True, True), in_words(False, False)
        (' in training mode', ' in training mode with gradients', '')
    """
    return f" in training mode{' with gradients' * graded}" if training else ""


def called(subject: Subject, cell: Recurrence, x: Tensor, state: State) -> Results:
    """Run a step, or, of what has none, the sequence; returns what it gives by names.

    Args:
        subject: what is checked.
        cell: of it.
        x: `(B, T, I)`, of which a step reads the first.
        state: before it.
    """
    if looks_ahead(cell):
        return whole(cell, x, state)
    return subject.step(cell, x[:, 0], state)


def whole(cell: Recurrence, x: Tensor, state: State, **options: Any) -> Results:
    """Run whole sequences; returns outputs and the last state by names.

    Args:
        cell: a cell or wrapper.
        x: `(B, T, I)`.
        state: before the first step.
        options: of `unroll`.
    """
    y, after = unroll(cell, x, state, generator=torch.Generator().manual_seed(7), **options)
    return named(y, after, "last")


WAYS: tuple[tuple[str, Callable[..., Results]], ...] = (
    ("a step", called),
    ("unroll", lambda subject, cell, x, state: whole(cell, x, state)),
)


def _flushes() -> bool:
    """Return whether the smallest numbers are taken for zeros, as torch has no word for it."""
    return not float(torch.full((), 1e-310, dtype=torch.float64) * 1)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch.set_grad_enabled": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.set_default_dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.set_num_threads": (torch.get_num_threads, torch.set_num_threads),
    "torch.set_flush_denormal": (_flushes, torch.set_flush_denormal),
    "torch.use_deterministic_algorithms": (
        torch.are_deterministic_algorithms_enabled,
        torch.use_deterministic_algorithms,
    ),
    "torch.set_float32_matmul_precision (allow_tf32)": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "torch.backends.cudnn.allow_tf32": (
        lambda: torch.backends.cudnn.allow_tf32,
        lambda value: setattr(torch.backends.cudnn, "allow_tf32", value),
    ),
}
"""How a setting of the process is called -> what reads it, and what sets it."""


@contextmanager
def restoring() -> Iterator[dict[str, Any]]:
    """Put back the settings of the process; gives them as they are at the beginning."""
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    try:
        yield before
    finally:
        for name, (read, put) in SETTINGS.items():
            if read() != before[name]:
                put(before[name])


def sets_nothing(subject: Subject) -> Iterator[str]:
    """It leaves the settings of the process, as of threads and gradients, as they were.

    Args:
        subject: what is checked.
    """
    for training in (False, True):
        for what, way in WAYS:
            subject.doing = what
            with restoring() as before:  # a state to begin with comes of steps too
                cell = subject.fresh(training=training)
                x, state = subject.x(2, 3, cell, torch.float32), subject.begins(2, torch.float32)
                way(subject, cell, x, state)
                after = {name: read() for name, (read, _) in SETTINGS.items()}
            for name, value in before.items():
                if after[name] != value:
                    yield (
                        f"{what} changes a setting of the whole process: {name}, from {value} to "
                        f"{after[name]}{in_words(training, False)} (B = 2): all that runs beside "
                        "it or after it is changed too"
                    )
                    return


def draws_nothing(subject: Subject) -> Iterator[str]:
    """It reads no global generator, and the same again gives the same numbers.

    Args:
        subject: what is checked.
    """
    for training, graded in MODES:
        mode = in_words(training, graded).lstrip() or "in evaluation mode"
        for what, way in (("initial_state", None), *WAYS):
            subject.doing = f"{what} {mode}"
            cell = subject.fresh(training=training)
            x = subject.x(2, 3, cell, torch.float32)
            begin = None if way is None else subject.begins(2, torch.float32)
            results = []
            for seed in (11, 12):
                cell = subject.fresh(training=training)
                with seeded(seed), torch.set_grad_enabled(graded):
                    known = generators()
                    if way is None:
                        results.append(flatten(cell.initial_state(2)))
                    else:
                        results.append(way(subject, cell, x.clone(), copied(begin)))
                    drawn = [name for name, kept in known.items() if kept != generators()[name]]
                if drawn:
                    hint = _dropout(cell) if drawn[0] == "torch" and training else ""
                    yield (
                        f"{what} draws from the global generator of {drawn[0]} {mode} (B = 2): no "
                        f"seed of a run reaches that{hint}"
                    )
                    return
            if (found := differing(results[1], results[0])) is None:
                continue
            off = f"{mode} (B = 2; {shown(found[0])} differs {found[1]})"
            if way is not None and _follows(subject, way, x, begin, (training, graded)):
                yield (
                    f"{what} keeps state outside of the module, in a global say: it gives other "
                    f"numbers from the same input, state and weights after another call, {off}"
                )
                return
            yield (
                f"{what} gives other numbers the second time, from the same input, state and "
                f"weights, {off}: something in it is random"
            )
            return


def _follows(
    subject: Subject,
    way: Callable[..., Results],
    x: Tensor,
    state: State,
    mode: tuple[bool, bool],
) -> bool:
    """Return whether what a call gives follows from the call before it."""
    results = []
    with torch.set_grad_enabled(mode[1]):
        for _ in range(3):
            cell = subject.fresh(training=mode[0])
            results.append(way(subject, cell, x.clone(), copied(state)))
    return differing(results[2], results[1]) is None


def _dropout(cell: nn.Module) -> str:
    kind = nn.modules.dropout._DropoutNd
    found = [name for name, part in cell.named_modules() if isinstance(part, kind)]
    inside = f" ({found[0]} is a dropout of torch)" if found else ""
    return f"{inside}; masks are what recurra.Dropout(cell) draws, from unroll's generator"


def changes_nothing(subject: Subject) -> Iterator[str]:
    """It changes in place neither its input nor its state nor its parameters.

    Args:
        subject: what is checked.
    """
    for graded in (False, True):
        for training in (False, True):
            for what, way in WAYS:
                subject.doing = what
                cell = subject.fresh(training=training)
                x = subject.x(2, 3, cell, torch.float32)
                state = subject.begins(2, torch.float32)
                if what == "a step":
                    x = x[:, :1].clone()
                given = {"its input x": x}
                given |= {f"the {shown(n)} it is given": p for n, p in flatten(state).items()}
                given |= {f"its parameter {name}": p for name, p in cell.named_parameters()}
                before = {name: (t.detach().clone(), t._version) for name, t in given.items()}
                with torch.set_grad_enabled(graded):
                    way(subject, cell, x, state)
                for name, tensor in given.items():
                    numbers, version = before[name]
                    same = torch.equal(tensor.detach(), numbers) and tensor._version == version
                    if not same and not tensor.isnan().any():
                        off = (tensor.detach() - numbers).abs().max() if tensor.numel() else 0
                        yield (
                            f"{what} changes {name} in place (B = 2, T = "
                            f"{x.shape[1]}; by {float(off):.2g})"
                        )
                        return


def remembers_nothing(subject: Subject) -> Iterator[str]:
    """It keeps nothing between calls but in the state that it returns.

    Args:
        subject: what is checked.
    """
    for training, graded in MODES:
        # what converges, as vectors of a norm do, still moves in float64
        dtype = torch.float64 if graded else torch.float32
        for what, way in WAYS:
            subject.doing = what
            x, other = (subject.x(2, 3, subject.fresh(), dtype, seed=s) for s in (3, 4))
            state = subject.begins(2, dtype)
            cell = subject.fresh(dtype, training)
            kept, results = [], []
            with torch.set_grad_enabled(graded):
                for each in (x, other, x, other, x):
                    results.append(way(subject, cell, each, copied(state)))
                    kept.append(_held(cell))
                alone = way(subject, subject.fresh(dtype, training), x, copied(state))
                beside = subject.fresh(dtype, training)
                way(subject, beside, other * 2, copied(state))
                results.append(way(subject, beside, x, copied(state)))
            later = (differing(results[n], alone) for n in (0, 2, 4, 5))
            found = next((each for each in later if each), None)
            moved = [name for name in kept[4] if kept[4][name] != kept[3].get(name)]
            if found is None and not moved:
                continue
            mode = in_words(training, graded)
            where = _whose(cell, moved[0]) if moved else "something outside of it: a global, say"
            effect = (
                f"{shown(found[0])} differs {found[1]} at a second call with the same input and "
                "state"
                if found
                else "nobody sees it in the state, so it is neither saved nor reset"
            )
            yield (
                f"{what} keeps state on the module{mode}: {where} changes with each call (B = 2); "
                f"{effect}"
            )
            return


def _held(cell: nn.Module) -> dict[str, Any]:
    """Return what modules hold, in a form that can be compared."""
    found: dict[str, Any] = {}
    for place, part in cell.named_modules():
        for key, value in {**vars(part), **part._buffers}.items():
            if key not in OWN:
                found[f"{place}.{key}".lstrip(".")] = _frozen(value)
    return found


def _frozen(value: Any, depth: int = 0) -> Any:
    if isinstance(value, Tensor):
        numbers = value.detach().cpu()
        real = torch.view_as_real(numbers) if numbers.is_complex() else numbers
        return tuple(value.shape), real.double().numpy().tobytes()
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, bool | int | float | str | type(None)):
        return repr(value)
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, dict) and depth < 3:
        return [(repr(k), _frozen(v, depth + 1)) for k, v in value.items()]
    if isinstance(value, Collection) and depth < 3:
        return [_frozen(each, depth + 1) for each in value]
    return id(value)


def _whose(cell: nn.Module, name: str) -> str:
    buffers = dict(cell.named_buffers())
    place = name.rpartition(".")[0]
    owner = cell.get_submodule(place)
    said = f"its buffer {name}" if name in buffers else f"self.{name}"
    if isinstance(owner, nn.modules.batchnorm._NormBase):
        said += f" ({place} is {type(owner).__name__}, whose statistics mix the rows of a batch)"
    elif "SpectralNorm" in type(owner).__name__:
        norm = place.removesuffix(".0").replace(".parametrizations", "")
        said += f" (spectral_norm of {norm}, whose vectors move in each training forward)"
    return said


def modes_agree(subject: Subject) -> Iterator[str]:
    """Training mode changes nothing, but for what wrappers draw.

    Args:
        subject: what is checked.
    """
    cell = subject.fresh()
    if draws(cell):
        return
    subject.doing = "a step in training mode"
    x, state = subject.x(2, 1, cell), subject.begins(2)
    results = []
    for training, graded in MODES:
        with torch.set_grad_enabled(graded):
            cell = subject.fresh(torch.float64, training)
            results.append(subject.step(cell, x[:, 0], copied(state)))
    for graded, awake in zip((False, True), results[1:]):
        if (found := differing(awake, results[0])) is not None:
            yield (
                f"{shown(found[0])} differs {found[1]} between training mode"
                f"{' with gradients' * graded} and evaluation (B = 2, T = 1), though nothing is "
                "drawn: what is trained is not what is used"
            )
            return
