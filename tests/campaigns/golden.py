"""Small trainings of every task, whose weights and figures are the same to the bit from version to
version on one kind of machine; the result that is kept says which they are.

With one thread, and twice: the first time fills the cache of kernels.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import record

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "benchmarks" / "results" / "campaign-golden.json"
PLAIN = ["--threads", "1", "--json"]
COMMANDS = {
    "words": ["train", "words", "--data", "grammar", "--epochs", "2", *PLAIN],
    "mixed words": [
        "train", "words", "--data", "grammar", "--out", "runs/mixing", *PLAIN,
        *(f"--set={each}" for each in (
            "train.steps=60", "mix.cache=true", "mix.dynamic=true", "mix.order=3",
            "mix.unigram_cache=true",
        )),
    ],
    "kn5": ["train", "kn5", "--data", "grammar", *PLAIN],
    "sine": ["train", "sine", *PLAIN],
    "airline": ["train", "airline", *PLAIN],
    "iris": ["train", "iris", *PLAIN],
    "vowels": ["train", "vowels", "--epochs", "1", *PLAIN],
    "mix": ["mix", "runs/words", "runs/kn5", "--out", "runs/mixed", "--json"],
    "scores": ["score", "runs/mixed", "lines.txt", "--json"],
    "written": ["generate", "runs/mixed", "--seed", "3", "--json"],
    "forecast": ["forecast", "runs/airline", "--json"],
}  # fmt: skip
CLOCK = ("seconds", "train_seconds", "throughput", "run", "command")
LINES = "".join(f"the old cat near the grey ship number {n} sleeps\n" for n in range(100))


def run(seed: int) -> dict[str, Any]:
    """Run the commands, and compare with what is kept of the same machine; `seed` is not used."""
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            found = _outcomes(Path(folder))
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    here = {k: v for k, v in record.machine().items() if k != "date"}
    same = here == {k: v for k, v in kept.get("machine", {}).items() if k != "date"}
    changed = [name for name in found if same and found[name] != kept["found"].get(name)]
    return {"found": found, "compared": same, "changed": changed, "failed": len(changed)}


def _outcomes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of what each command says, but for times, and of every model's weights."""
    (folder / "lines.txt").write_text(LINES)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    env = os.environ | {"RECURRA_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    found = {}
    for name, words in COMMANDS.items():
        command = [sys.executable, "-m", "recurra", *words]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, check=True)
        said = [_timeless(json.loads(line)) for line in _values(done.stdout, name == "scores")]
        found[name] = hashlib.sha256(json.dumps(said).encode()).hexdigest()
    for path in sorted((folder / "runs").rglob("weights.safetensors")):
        if "checkpoints" not in path.parts:
            place = str(path.relative_to(folder))
            found[place] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _values(said: bytes, lines: bool) -> list[bytes]:
    return said.splitlines() if lines else [said]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in CLOCK}
    return [_timeless(each) for each in value] if isinstance(value, list) else value
