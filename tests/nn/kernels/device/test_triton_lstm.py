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
