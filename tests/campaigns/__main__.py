"""A campaign: the whole of what `make test` holds a seeded part of; its result is kept.

`make campaign NAME`, or `python tests/campaigns NAME [SEED]`. A campaign is a module of this folder
with `run(seed) -> dict`, whose `"failed"` counts what went wrong.
"""

from __future__ import annotations

import importlib
import secrets
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "__main__")


def main(words: list[str], results: Path = ROOT / "benchmarks" / "results") -> int:
    """Run a campaign and keep what it found; return the exit code."""
    if not 1 <= len(words) <= 2 or words[0] not in NAMES:
        print(f"make campaign NAME, one of: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    sys.path[:0] = [str(HERE), str(ROOT / "benchmarks")]
    import record

    name, seed = words[0], int(words[1]) if len(words) > 1 else secrets.randbelow(2**31)
    begun = time.monotonic()
    found = importlib.import_module(name).run(seed)
    seconds = round(time.monotonic() - begun, 1)
    path = results / f"campaign-{name}.json"
    record.write(str(path), {"seed": seed, "seconds": seconds, "machine": record.machine()} | found)
    print(f"{name}, seed {seed}: {found['failed']} failed, {seconds:,} s; {path}")
    return min(1, found["failed"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
