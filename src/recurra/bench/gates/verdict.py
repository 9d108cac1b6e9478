"""What a comparison of an LSTM's gates says, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recurra.bench.verdict import too_short

__all__ = ["NAMES", "verdict"]

Row = Mapping[str, Any]

NAMES: Mapping[str, str] = {
    "whole": "the LSTM, whole",
    "no_input_gate": "no input gate",
    "no_forget_gate": "no forget gate",
    "no_output_gate": "no output gate",
    "coupled": "coupled (i = 1 - f)",
    "peepholes": "with peepholes",
    "no_input_activation": "no input activation",
    "no_output_activation": "no output activation",
}
"""Variants as one reads them."""

HOW = {"width": "at the same width", "parameters": "at the same parameters"}


def verdict(task: Row, rows: Sequence[Row]) -> list[str]:
    """Return what is lost most, and what makes no difference, at each way of sizing.

    A variant makes no difference where it lies from the whole LSTM by no more than the deviations
    over seeds of both together.

    Args:
        task: of the result.
        rows: its results.

    Example:
        >>> def row(name, perplexity, deviation=1.0):
        ...     return {"variant": name, "at": "width", "perplexity": perplexity,
        ...         "deviation": deviation}
        >>> task = {"steps": 9, "full_steps": 9, "baselines": {"kn5": {"perplexity": 90.0}}}
        >>> rows = [row("whole", 80.0), row("coupled", 81.0), row("no_forget_gate", 100.0)]
        >>> print("\\n".join(verdict(task, rows)))
        at the same width: no forget gate costs most, 25.0% more perplexity than the whole LSTM's \
80.0; no difference beyond the spread of seeds: coupled (i = 1 - f)
        the whole LSTM beats kn5 (90.0)
    """
    whole = next((row for row in rows if row["variant"] == "whole"), None)
    if whole is None or whole["perplexity"] is None:
        return []
    if too_short(task):
        return [f"too short to tell, after {task['steps']:,} of {task['full_steps']:,} steps"]
    lines = [said for at in HOW if (said := _of_one(at, whole, rows))]
    for name, metrics in task["baselines"].items():
        beats = "beats" if whole["perplexity"] < metrics["perplexity"] else "does not beat"
        lines.append(f"the whole LSTM {beats} {name} ({metrics['perplexity']:.1f})")
    return lines


def _of_one(at: str, whole: Row, rows: Sequence[Row]) -> str:
    others = [row for row in rows if row["at"] == at and row["variant"] != "whole"]
    lost = [NAMES[row["variant"]] for row in others if row["perplexity"] is None]
    known = [row for row in others if row["perplexity"] is not None]
    parts = [f"{', '.join(lost)} ran away"] if lost else []
    if known:
        told = sorted((r for r in known if not _alike(r, whole)), key=lambda r: -_more(r, whole))
        worse = [row for row in told if _more(row, whole) > 0]
        if worse:
            parts.append(
                f"{NAMES[worse[0]['variant']]} costs most, {_more(worse[0], whole):.1%} more "
                f"perplexity than the whole LSTM's {whole['perplexity']:.1f}"
            )
        if worse[1:]:
            also = (f"{NAMES[r['variant']]} ({_more(r, whole):.1%})" for r in worse[1:])
            parts.append(f"worse too: {', '.join(also)}")
        better = [NAMES[row["variant"]] for row in told if _more(row, whole) < 0]
        parts += [f"better than whole: {', '.join(better)}"] if better else []
        alike = [NAMES[row["variant"]] for row in known if _alike(row, whole)]
        if alike:
            parts.append(f"no difference beyond the spread of seeds: {', '.join(alike)}")
    return f"{HOW[at]}: {'; '.join(parts)}" if parts else ""


def _more(row: Row, whole: Row) -> float:
    """Return how much more perplexity a variant has, as a share of the whole LSTM's."""
    return float(row["perplexity"] / whole["perplexity"] - 1)


def _alike(row: Row, whole: Row) -> bool:
    spread = (row["deviation"] or 0.0) + (whole["deviation"] or 0.0)
    return bool(abs(row["perplexity"] - whole["perplexity"]) <= spread)
