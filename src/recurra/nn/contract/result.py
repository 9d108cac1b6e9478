"""What a check found, to be read, printed and written as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Checked", "Failure"]


@dataclass(frozen=True)
class Failure:
    """One fault of a recurrence: of which kind, and a sentence that names it."""

    aspect: str
    said: str

    def __str__(self) -> str:
        return self.said


@dataclass(frozen=True)
class Checked:
    """What a check found: `ok`, the failures with the cause first, and what holds.

    `unchecked` rests on something that failed; `limits` are what it cannot do, and says so when
    asked for it: no faults. Printing it gives all of this in sentences.
    """

    cell: str
    failures: tuple[Failure, ...] = ()
    passed: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def as_json(self) -> dict[str, Any]:
        """Return it as mappings and lists."""
        return {"ok": self.ok, **asdict(self)}

    def lines(self) -> list[str]:
        """Return it in sentences, a line each."""
        found = [f"{self.cell}: {_counted(self)}"]
        found += [f"  holds   {said}" for said in self.passed]
        found += [f"  limit   {said}" for said in self.limits]
        found += [f"  BROKEN  {failure.said}" for failure in self.failures]
        if self.unchecked:
            found.append(f"  not checked, as it rests on this: {'; '.join(self.unchecked)}")
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _counted(checked: Checked) -> str:
    asked = len(checked.passed) + len(checked.failures)
    if checked.ok:
        return f"all {asked} parts of the contract hold"
    broken = len(checked.failures)
    return f"broken: {broken} of {asked} parts of the contract that were checked"
