"""Score PTB's test text by our n-grams, and by kenlm from the ARPA file that we write of them.

kenlm comes from PyPI into an environment of its own, made on first use (it is compiled there).
The file must read back in ours with the same numbers, and a pruned model must agree as well.
Seconds are of the processor, as the machine may be busy with something else.

    python benchmarks/arpa.py [--order 5] [--peers .venv-peers] [--out benchmarks/results/arpa.json]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

PRUNE = 1e-8
STEPS, ROWS = 5000, 64


def kenlm(path: str) -> dict[str, Any]:
    """Score the lines of stdin in kenlm: base-10 logarithms of each one's words, its end last."""
    import kenlm as peer

    begun = time.process_time()
    model = peer.Model(path)
    loaded = time.process_time()
    lines = [line.strip() for line in sys.stdin]
    read = time.process_time()
    totals = [model.score(line, bos=True, eos=True) for line in lines]
    scored = time.process_time()
    words = [[one[0] for one in model.full_scores(line, bos=True, eos=True)] for line in lines]
    return {
        "load_seconds": loaded - begun,
        "score_seconds": scored - read,
        "totals": totals,
        "words": words,
    }


def environment(folder: Path) -> Path:
    """Return the Python that has kenlm, installed there first where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip"]
    if subprocess.run([*pip, "show", "-q", "kenlm"], capture_output=True).returncode:
        subprocess.run([*pip, "install", "-q", "kenlm"], check=True)
    return python


def compared(python: Path, arpa: Path, text: str, log_probs: Any) -> dict[str, Any]:
    """Return how far kenlm's numbers are from ours, `log_probs` of each line in nats."""
    import numpy as np

    command = [str(python), __file__, "--contestant", str(arpa)]
    done = subprocess.run(
        command,
        check=True,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = [line / math.log(10) for line in log_probs]
    tokens = sum(map(len, ours))
    total = sum(map(math.fsum, theirs["words"]))
    by_word = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs["words"], strict=True))
    by_line = max(abs(float(a.sum()) - b) for a, b in zip(ours, theirs["totals"], strict=True))
    our_total = float(sum(line.sum() for line in ours))
    return {
        "tokens": tokens,
        "lines": len(ours),
        "log10 ours": our_total,
        "log10 kenlm": total,
        "perplexity ours": 10 ** (-our_total / tokens),
        "perplexity kenlm": 10 ** (-total / tokens),
        "most a word differs, log10": by_word,
        "most a word differs, nats": by_word * math.log(10),
        "most a line differs, log10": by_line,
        "most a line differs, nats": by_line * math.log(10),
        "kenlm load_seconds": round(theirs["load_seconds"], 2),
        "kenlm score_seconds": round(theirs["score_seconds"], 3),
    }


def timed_steps(model: Any, ids: Any) -> dict[str, float]:
    """Return the microseconds of a step, that gives all words' probabilities, alone and of rows."""
    import torch

    state, times, used = model.initial_state(), [], 0.0
    for n, token in enumerate([model.vocabulary.eos, *ids[: STEPS + 100].tolist()]):
        used = time.process_time() if n == 101 else used
        begun = time.perf_counter()
        _, state = model.step(token, state)
        times.append(time.perf_counter() - begun)
    used = time.process_time() - used
    state, many = model.initial_state(ROWS), []
    for row in torch.as_tensor(ids[: 100 * ROWS]).view(100, ROWS):
        begun = time.perf_counter()
        _, state = model.step(row, state)
        many.append((time.perf_counter() - begun) / ROWS)
    return {
        "median": round(statistics.median(times[101:]) * 1e6, 1),
        "mean processor time": round(used / STEPS * 1e6, 1),
        f"median of {ROWS} rows, a row": round(statistics.median(many) * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers"))
    parser.add_argument("--out", default="benchmarks/results/arpa.json")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        print(json.dumps(kenlm(arguments.contestant)))
        return
    import numpy as np

    from record import machine, write
    from recurra.language.models.ngram import NgramModel
    from recurra.language.options import NgramOptions, TextOptions
    from recurra.language.text.dataset import TextDataset

    python = environment(arguments.peers / "kenlm")
    data = TextDataset.open(TextOptions(corpus="ptb"))
    vocabulary = data.vocabulary
    train, test = np.array(data.ids("train")), np.array(data.ids("test"))
    lines = np.split(test, np.flatnonzero(test == vocabulary.eos)[:-1] + 1)
    text = "".join(" ".join(vocabulary.decode(line[:-1])) + "\n" for line in lines)

    begun = time.process_time()
    whole = NgramModel.count(train, NgramOptions(order=arguments.order), vocabulary, data.rule)
    result: dict[str, Any] = {"fit_seconds": round(time.process_time() - begun, 2)}
    models = {"whole": whole, f"pruned {PRUNE}": whole.pruned(PRUNE, train)}
    for name, model in models.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.arpa"
            begun = time.process_time()
            model.to_arpa(path)
            written = time.process_time()
            again = NgramModel.from_arpa(path, data.rule)
            read = time.process_time()
            log_probs = model.log_probs_of(test)
            scored = time.process_time()
            back = np.abs(again.log_probs_of(test) - log_probs).max()
            each = {
                "n-grams": model.ngrams.sizes,
                "same vocabulary read back": again.vocabulary.tokens == vocabulary.tokens,
                "most a word differs read back, nats": float(back),
                **compared(python, path, text, model.log_probs_of_lines(lines)),
                "megabytes": round(path.stat().st_size / 1e6, 1),
                "write_seconds": round(written - begun, 2),
                "read_seconds": round(read - written, 2),
                "score_seconds": round(scored - read, 3),
                "step_microseconds": timed_steps(again, test),
            }
        result[name] = each
        for key, value in each.items():
            print(f"{name:12} {key:40} {value}")
    pip = [str(python), "-m", "pip", "freeze"]
    versions = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.split()
    write(arguments.out, {"machine": machine(), "versions": versions, **result})


if __name__ == "__main__":
    main()
