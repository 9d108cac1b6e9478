"""Peak memory of training on a vocabulary of 100,000 words: ours beside the plain step.

Each contestant runs in a process of its own; what is told is the peak resident memory, and how
much of it came after the model itself was built.

    python benchmarks/memory.py [--words 100000] [--out benchmarks/results/memory.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys

import train_step


def peak_megabytes() -> float:
    """Return the most resident memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(contestant: str, words: int) -> dict[str, float]:
    """Build one contestant, take five steps, and return its memory in MB."""
    train_step.V = words
    before = peak_megabytes()
    step = train_step.plain_step() if contestant == "plain" else train_step.our_step(contestant)
    built = peak_megabytes()
    for _ in range(5):
        step()
    return {"before": before, "built": built, "peak": peak_megabytes()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--out", default="benchmarks/results/memory.json")
    parser.add_argument("--contestant")
    arguments = parser.parse_args()
    if arguments.contestant:
        print(json.dumps(run(arguments.contestant, arguments.words)))
        return
    from record import machine, write

    rows = {}
    for name in ("plain", "bfloat16", "float32"):
        command = [sys.executable, __file__, "--contestant", name, "--words", str(arguments.words)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(answer.stdout)
        rows[name] = {key: round(value, 1) for key, value in row.items()}
        growth = row["peak"] - row["built"]
        print(f"{name:10} peak {row['peak']:7.0f} MB, of it {growth:6.0f} MB while training")
    logits = train_step.B * train_step.T * arguments.words * 4 / 2**20
    print(f"all logits of a step in float32 would be {logits:.0f} MB")
    write(arguments.out, {"machine": machine(), "words": arguments.words, "megabytes": rows})


if __name__ == "__main__":
    main()
