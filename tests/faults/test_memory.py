"""What training and scoring hold in memory at most, measured in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak that Linux tells"
)

MEASURE = r'''
import re
import sys
from pathlib import Path
import numpy as np
import torch

torch.set_num_threads(1)

def status(name):
    """Return a figure of this process in MiB."""
    told = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", told)[1]) / 1024

def peak_over(work):
    """Return by how many MiB `work` lifts the memory above where it begins."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before = status("VmRSS")
    work()
    return status("VmHWM") - before
'''


def measure(program: str, folder: Path) -> list[float]:
    """Run a program after `MEASURE`; return the figures that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE + program],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [float(word) for word in done.stdout.split()]


STEP = """
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.nn.kernels.losses.exponentials import exponentials
from recurra.nn.state import detach
from recurra.learning.optimization import TrainOptions, clip_gradients, make_optimizer

V, H, B, T = 100_000, 16, 20, 35
ours = sys.argv[1:] != ["plain"]
options = NetworkOptions(hidden_size=H, num_layers=1)
network = LanguageNetwork(options, V, torch.Generator().manual_seed(1), sparse=True).train()
optimizer = make_optimizer(network.parameters(), TrainOptions())
ids = torch.randint(V, (B, T + 1), generator=torch.Generator().manual_seed(1))

def step(rows, plain=False):
    hidden, _ = network(ids[:rows, :T], network.initial_state(rows))
    targets = ids[:rows, 1:]
    if plain:
        logits = torch.nn.functional.linear(hidden, network.head.weight, network.head.bias)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    else:
        loss = network.head.loss(hidden, targets)
    loss.backward()
    clip_gradients(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()

step(1)
# What compiling takes, once on a machine, is not what a step holds.
exponentials(torch.zeros(32, 8).bfloat16(), torch.zeros(32, dtype=torch.int64))
print(peak_over(lambda: step(B)))
print(peak_over(lambda: step(B, plain=True)))
"""


def test_a_step_holds_no_logits_beyond_a_chunk(tmp_path: Path) -> None:
    """100,000 words: all logits are 267 MiB, a chunk of them is 32 in float32."""
    logits = 100_000 * 700 * 4 / 2**20
    for _ in range(3):  # now and then the process takes 64 MiB more, whatever it runs
        ours, plain = measure(STEP, tmp_path)
        if ours < 0.75 * logits:
            break
    assert plain > 1.5 * logits, "the measurement sees what it is for"
    assert ours < 0.75 * logits
    assert ours < plain / 4


TEXT = """
from recurra.language.text.batches import StreamBatches
from recurra.language.network import LanguageNetwork
from recurra.language.models.network import NetworkModel
from recurra.language.options import NetworkOptions
from recurra.language.text.vocabulary import Vocabulary

with open("ids", "wb") as file:
    file.truncate(1 << 30)  # a gigabyte of token 0, which takes no room on the disk
ids = np.memmap("ids", np.int32, "r")

# Pages of the file itself may stay in memory as long as there is room; copies may not be made.
before = status("RssAnon")
batches = StreamBatches(ids, 20, 35)
for number in range(0, len(batches), len(batches) // 500):
    batches.batch(number)
print(status("RssAnon") - before)

words = Vocabulary([*(f"w{n}" for n in range(998)), "<eos>", "<unk>"])
options = NetworkOptions(hidden_size=8, num_layers=1)
network = LanguageNetwork(options, len(words), torch.Generator().manual_seed(1))
model = NetworkModel(network, options, words, "split")
model.log_probs_of(ids[:10_000])
short = peak_over(lambda: model.log_probs_of(ids[:10_000]))
long = peak_over(lambda: model.log_probs_of(ids[:100_000]))
print(short, long)
"""


def test_a_gigabyte_of_text_is_not_held_and_scoring_does_not_grow_with_the_text(
    tmp_path: Path,
) -> None:
    training, short, long = measure(TEXT, tmp_path)
    assert training < 10
    assert long < short + 10  # the scores themselves are 0.8
    assert long < 60
