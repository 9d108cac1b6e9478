"""Which kernel a GPU gets, decided without one; what the kernels do is for test_triton_lstm.py."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from recurra.nn.kernels.device import lstm as device_lstm
from recurra.nn.kernels.device.lstm import Kind, lstm_family_for
from recurra.nn.kernels.loops.lstm import LSTMParts


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sequences that say they are on a GPU, which tries every kernel with success."""
    monkeypatch.setattr(device_lstm, "served", lambda x: None if x.dtype is None else "elsewhere")
    monkeypatch.setattr(device_lstm, "find_spec", lambda name: True)
    monkeypatch.setattr(device_lstm, "_fault", lambda kind, device: None)
    return SimpleNamespace(is_cuda=True, dtype=torch.float32, device=torch.device("cuda:0"))


def test_a_processor_has_the_compiled_loop():
    found = lstm_family_for(torch.zeros(1), 5)
    assert (found.name, found.looped) == ("the compiled LSTM", False)
    assert "float16" in lstm_family_for(torch.zeros(1, dtype=torch.float16), 5)


def test_small_widths_take_one_kernel_and_others_one_a_step(gpu):
    assert lstm_family_for(gpu, 64)[1:] == ("one Triton kernel of the LSTM", False)
    assert lstm_family_for(gpu, 65)[1:] == ("products and Triton kernels of the LSTM", True)


def test_where_one_kernel_fails_steps_are_tried(gpu, monkeypatch):
    tried = []

    def fault(kind: Kind, device: torch.device) -> str | None:
        tried.append(kind)
        return "fails: out of resources" if kind.WHOLE else None

    monkeypatch.setattr(device_lstm, "_fault", fault)
    assert lstm_family_for(gpu, 5, "norm").looped
    assert lstm_family_for(gpu, 5, "coupled", "clip").looped
    assert tried[1] == Kind(5, 4, PEEPHOLE=False, NORM=True, CLIP=False, WHOLE=False)
    assert tried[3] == Kind(5, 3, PEEPHOLE=False, NORM=False, CLIP=True, WHOLE=False)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dtype": torch.float64}, "Triton's loop is for float32 throughout"),
        ({"H": 4000}, "Triton's loop is for up to 2048 units"),
        ({"spec": None}, "triton is not installed"),
        ({"fault": "is off by 0.3"}, "Triton's loop is off by 0.3"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_reason_is_said(change, why, gpu, monkeypatch):
    gpu.dtype = change.get("dtype", torch.float32)
    if "spec" in change:
        monkeypatch.setattr(device_lstm, "find_spec", lambda name: None)
    if "fault" in change:
        monkeypatch.setattr(device_lstm, "_fault", lambda kind, device: change["fault"])
    assert lstm_family_for(gpu, change.get("H", 5)) == why


def test_a_kernel_that_raises_is_a_fault(monkeypatch):
    def fail(*given: Any) -> Any:
        raise RuntimeError("out of resource: shared memory\nand more")

    monkeypatch.setattr(device_lstm, "_launch", fail)
    kind = Kind(3, 4, PEEPHOLE=False, NORM=False, CLIP=False, WHOLE=True)
    said = device_lstm._fault(kind, torch.device("cpu"))
    assert said == "fails: out of resource: shared memory"


def test_a_kernel_that_does_nothing_is_a_fault(monkeypatch):
    def forget(name: str, kind: Kind, *given: Any) -> None:
        for tensor in given:
            if isinstance(tensor, torch.Tensor) and tensor.dim() == 3:
                tensor.zero_()

    monkeypatch.setattr(device_lstm, "_launch", forget)
    kind = Kind(3, 4, PEEPHOLE=True, NORM=True, CLIP=True, WHOLE=True)
    assert "is off by" in (device_lstm._fault(kind, torch.device("cpu")) or "")


def test_the_state_stays_when_the_outputs_are_written_to(monkeypatch):
    monkeypatch.setattr(device_lstm, "_launch", lambda *given: None)
    h, weights = torch.zeros(2, 4), (torch.ones(16, 3), torch.ones(16, 4), torch.ones(16))
    with torch.no_grad():
        x = torch.ones(2, 3, 3)
        y, *end = device_lstm._sequence(x, h, h, weights, LSTMParts(), whole=True)
    assert all(part.untyped_storage().data_ptr() != y.untyped_storage().data_ptr() for part in end)


def test_the_operator_has_a_shape_for_compilers():
    with torch._subclasses.fake_tensor.FakeTensorMode():
        sums, h, weight = torch.empty(2, 3, 16), torch.empty(2, 4), torch.empty(16, 4)
        none, steps = torch.empty(0), torch.empty(2, dtype=torch.int64)
        made = torch.ops.recurra.device_lstm(
            sums, h, h, weight, none, none, none, steps, 0.0, 0.0, True
        )
    shapes = [(2, 3, 4), (2, 4), (2, 3, 4), (2, 3, 16), (0,)]
    assert [tuple(each.shape) for each in made] == shapes


@pytest.mark.parametrize("lengths", [[4, 4], [4, 1]])
def test_the_steps_that_are_differentiated_again_are_those_of_the_loop(lengths: list[int]) -> None:
    H, eps = 3, 1e-3
    draw = partial(torch.randn, dtype=torch.float64)
    x, h, c = draw(2, 4, 5), draw(2, H), draw(2, H)
    weights = draw(4 * H, 5), draw(4 * H, H), draw(4 * H)
    peephole, gains, norm = draw(3, H), draw(2, 4 * H), draw(2, H)
    parts = LSTMParts(peephole, gains, norm, clip=0.3, eps=eps)
    steps = torch.tensor(lengths)
    expected, _, c_end = device_lstm.lstm_family_sequence(x, h, c, weights, parts, steps)
    sums = torch.layer_norm(x @ weights[0].T, (4 * H,), gains[0], weights[2], eps)
    given = (sums, h, c, weights[1], peephole, gains[1], norm, steps, 0.3, eps, True)
    torch.testing.assert_close(device_lstm._plain(*given), (expected, c_end))
