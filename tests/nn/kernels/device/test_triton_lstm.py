"""Triton's kernels in Triton's interpreter, and compiled for GPUs that are not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed: its kernels are not tried")

# Both ways need a process of their own: triton reads what it is to do as it is imported.
DIFFERENCES = """
import json, sys, torch
from recurra.nn.kernels.device.lstm import Kind, _differences
kinds = [Kind(*kind) for kind in json.loads(sys.argv[1])]
print(json.dumps([max(_differences(kind, torch.device("cpu"))) for kind in kinds]))
"""

NOT_A_NUMBER = """
import json, sys, torch
from recurra.nn.kernels.device.lstm import _in_torch, _sequence
from recurra.nn.kernels.loops.lstm import LSTMParts
torch.manual_seed(1)
x, h, lengths = torch.randn(3, 4, 2), torch.zeros(3, 5), torch.full((3,), 4)
x[0, 2, 0] = float("nan")
weights, parts = (torch.randn(20, 2), torch.randn(20, 5), torch.randn(20)), LSTMParts(clip=0.3)
with torch.no_grad():
    expected = _in_torch(x, h, h, weights, parts, lengths)
    for whole in json.loads(sys.argv[1]):
        made = _sequence(x, h, h, weights, parts, None, whole)
        torch.testing.assert_close(made, expected, equal_nan=True)
print(json.dumps([bool(each.isnan().any()) for each in expected]))
"""

COMPILED = """
import json, sys
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from recurra.nn.kernels.device import triton_lstm
kinds = json.loads(sys.argv[1])
numbers = {"B": "i32", "T": "i32", "start": "i32", "end": "i32", "clip": "fp32", "eps": "fp32"}
shared = []
for name in ("forward", "backward"):
    kernel = getattr(triton_lstm, name)
    for kind in kinds:
        types = {n: numbers.get(n, "*fp32") for n in kernel.arg_names} | {"lengths": "*i64"}
        types |= {n: "constexpr" for n in kind}
        fixed = {(kernel.arg_names.index(n),): value for n, value in kind.items()}
        source = ASTSource(fn=kernel, signature=types, constexprs=fixed)
        for version in (80, 90):
            options = {"num_warps": 8 if kind["WHOLE"] else 4, "num_stages": 1}
            made = compile(source, target=GPUTarget("cuda", version, 32), options=options)
            assert made.asm["cubin"]
            shared.append(made.metadata.shared)
print(json.dumps(shared))
"""

PARTS = {
    "plain": (4, False, False, False),
    "peephole": (4, True, False, False),
    "peephole clipped": (4, True, False, True),
    "coupled": (3, False, False, False),
    "layer norm": (4, False, True, False),
}


def run(text: str, argument: Any, interpret: str) -> Any:
    environment = {**os.environ, "TRITON_INTERPRET": interpret, "TRITON_DEFAULT_FP_FUSION": "1"}
    made = subprocess.run(
        [sys.executable, "-c", text, json.dumps(argument)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    return json.loads(made.stdout.splitlines()[-1])


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "steps"])
def test_interpreted_kernels_do_what_steps_in_torch_do(whole):
    kinds = [(H, *parts, whole) for H in (5, 20) for parts in PARTS.values()]
    found = run(DIFFERENCES, kinds, "1")
    assert dict(zip(map(str, kinds), found)) == pytest.approx(
        dict.fromkeys(map(str, kinds), 0), abs=5e-6
    )


def test_a_clipped_memory_that_is_no_number_stays_none():
    assert run(NOT_A_NUMBER, [True, False], "1") == [True, True, True]


def test_kernels_compile_for_gpus_and_fit_into_them():
    names = ("N", "PEEPHOLE", "NORM", "CLIP")
    kinds = []
    for parts in (PARTS["layer norm"], PARTS["peephole clipped"], PARTS["coupled"]):
        own = dict(zip(names, parts))
        kinds += [
            {"H": 64, "W": 64, "R": 16, **own, "WHOLE": True},
            {"H": 200, "W": 256, "R": 1, **own, "WHOLE": False},
        ]
    assert max(run(COMPILED, kinds, "0")) <= 96 * 1024  # Turing's 64 KB take the steps
