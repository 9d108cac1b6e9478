from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recurra.nn.kernels.compiler import team

PROGRAM = """
import hashlib
import sys
import torch
from recurra.nn.kernels.losses.exponentials import exponentials
torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
results = exponentials((torch.randn(700, 500) * 3).bfloat16(), torch.randint(500, (700,)))
whole = b"".join(part.view(torch.uint8).numpy().tobytes() for part in results)
print(hashlib.sha256(whole).hexdigest())
"""


@pytest.mark.skipif(team._addresses() is None, reason="torch has no team of libgomp here")
def test_what_was_just_compiled_and_what_was_kept_agree_to_the_bit(tmp_path: Path) -> None:
    """On two threads, on two again from the disk, and on one."""

    def run(threads: int) -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        environment.pop("OMP_NUM_THREADS", None)
        command = [sys.executable, "-c", PROGRAM, str(threads)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert len({run(2), run(2), run(1)}) == 1
