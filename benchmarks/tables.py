"""Reading tables of numbers: seconds, and the peak of memory beside what is kept.

Each table is read in a process of its own. Kept are the numbers and the stamps, 8 bytes each.

Beside it stands what pandas.read_csv takes of the same file, by the whole peak of the process.

    python benchmarks/tables.py [--rows 3000000] [--only NAME] [--out FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SERIES = 100


def tables(folder: Path, rows: int, only: str | None) -> list[Path]:
    """Write the tables, or one of them; return their paths."""
    numbers = np.random.default_rng(1).normal(size=rows).round(3).tolist()
    hours = np.arange(rows // SERIES).astype("datetime64[h]").astype(str).tolist()
    places = [(f"series-{n % SERIES:03}", hours[n // SERIES]) for n in range(rows)]
    texts = {
        "long.csv": (
            "unique_id,ds,y",
            (f"{i},{t}:00:00,{y}" for (i, t), y in zip(places, numbers)),
        ),
        "sorted.csv": (
            "unique_id,ds,y",
            (f"{i},{t}:00:00,{y}" for (i, t), y in zip(sorted(places), numbers)),
        ),
        "one.csv": ("y", map(str, numbers)),
        "wide.csv": (
            "ds,a,b,c,y",
            (f"{n},1,2.5,,{y}" for n, y in enumerate(numbers[: rows // 2])),
        ),
        "labels.csv": (
            "a,b,c,label",
            (f"{y},2.5,{n},up" for n, y in enumerate(numbers[: rows // 4])),
        ),
        "labels.ts": (
            "@classLabel true a b\n@data",
            (",".join(map(str, numbers[n : n + 100])) + ":a" for n in range(0, rows, 100)),
        ),
    }
    for name, (head, lines) in texts.items():
        if only in (None, name):
            (folder / name).write_text("\n".join([head, *lines]))
    if only is None:
        (folder / "long.csv.gz").write_bytes(gzip.compress((folder / "long.csv").read_bytes(), 6))
    return sorted(folder.iterdir())


def memory(name: str) -> int:
    """Return a figure of this process, `VmRSS` or `VmHWM`, in bytes."""
    told = Path("/proc/self/status").read_text()
    return int(told.partition(f"{name}:")[2].split()[0]) * 1024


def read(path: Path) -> dict[str, float]:
    """Read one table; return what is kept and what it took."""
    from recurra.labels.datasets.files import read_examples
    from recurra.series.options import SeriesOptions
    from recurra.series.reading import read_file

    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before, begun = memory("VmRSS"), time.process_time()
    if path.name.startswith("labels"):
        found = read_examples(path)
        kept = 8 * len(found.names) + sum(each.nbytes for each in found.sequences)
    else:
        panel = read_file(path, SeriesOptions(target="y"))
        kept = sum(
            one.values.nbytes + (0 if one.stamps is None else one.stamps.nbytes)
            for one in panel.series
        )
    seconds = time.process_time() - begun
    peak = memory("VmHWM")
    return {"seconds": seconds, "kept": kept, "peak": peak - before, "whole peak": peak}


def read_by_pandas(path: Path) -> dict[str, float]:
    """Read one table by pandas; return what it took."""
    import pandas

    begun = time.process_time()
    pandas.read_csv(path)
    return {"seconds": time.process_time() - begun, "whole peak": memory("VmHWM")}


def in_a_process(path: Path, *words: str) -> dict[str, float]:
    """Read one table in a process of its own."""
    command = [sys.executable, __file__, "--read", str(path), *words]
    found: dict[str, float] = json.loads(
        subprocess.run(command, capture_output=True, check=True).stdout
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--out", default="benchmarks/results/tables.json")
    parser.add_argument("--only", help="the name of one table")
    parser.add_argument("--read", type=Path)
    parser.add_argument("--pandas", action="store_true")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps((read_by_pandas if arguments.pandas else read)(arguments.read)))
        return
    from record import machine, write

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in tables(Path(folder), arguments.rows, arguments.only):
            row = in_a_process(path)
            found[path.name] = {
                "seconds": round(row["seconds"], 2),
                "megabytes kept": round(row["kept"] / 2**20, 1),
                "peak over kept": round(row["peak"] / row["kept"], 2),
            }
            if path.suffix == ".csv":
                peer = in_a_process(path, "--pandas")
                found[path.name] |= {
                    "seconds of pandas": round(peer["seconds"], 2),
                    "peak over pandas'": round(row["whole peak"] / peer["whole peak"], 2),
                }
            print(
                f"{path.name:12}",
                *(f"{value:>8} {name}" for name, value in found[path.name].items()),
            )
    write(arguments.out, {"machine": machine(), "rows": arguments.rows, "tables": found})


if __name__ == "__main__":
    main()
