from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ShapeError
from recurra.nn.kernels.scans import linear as module
from recurra.nn.kernels.scans.linear import scan, scan_pairs, scan_plain

LENGTHS = torch.tensor([6, 0, 3, 1])
UNUSED = {"allow_unused": True, "materialize_grads": True}
KINDS = {
    f"{dtype} {'constant' if constant else 'each step'}".removeprefix("torch."): (dtype, constant)
    for dtype, constant in product((torch.float64, torch.complex128), (False, True))
}
every_kind = pytest.mark.parametrize(("dtype", "constant"), KINDS.values(), ids=KINDS)


def given_numbers(
    dtype: torch.dtype, constant: bool, B: int = 4, T: int = 6, C: int = 3
) -> tuple[Tensor, Tensor, Tensor]:
    shapes = ((C,) if constant else (B, T, C), (B, T, C), (B, C))
    a, b, state = (torch.randn(shape, dtype=dtype) for shape in shapes)
    return a, b, state


def everything(
    how: Callable[..., tuple[Tensor, Tensor]], *leaves: Tensor, lengths: Tensor | None
) -> list[Tensor]:
    leaves = tuple(leaf.clone().requires_grad_() for leaf in leaves)
    y, end = how(*leaves, lengths)
    results = [torch.view_as_real(r) if r.is_complex() else r for r in (y, end)]
    loss = sum((r * torch.arange(r.numel()).sin().view_as(r)).sum() for r in results)
    return [y, end, *torch.autograd.grad(loss, leaves, **UNUSED)]


def oracle(a: Tensor, b: Tensor, state: Tensor) -> np.ndarray:
    """The closed form: h_t is the sum of every b_s, and the state, times all factors since."""
    B, T, C = b.shape
    factors = a.expand(B, T, C).numpy()
    h = np.zeros((B, T, C), dtype=factors.dtype)
    for t in range(T):
        h[:, t] = state.numpy() * factors[:, : t + 1].prod(axis=1)
        for s in range(t + 1):
            h[:, t] += b.numpy()[:, s] * factors[:, s + 1 : t + 1].prod(axis=1)
    return h


@every_kind
def test_the_closed_form(dtype: torch.dtype, constant: bool) -> None:
    a, b, state = given_numbers(dtype, constant)
    for how in (scan, scan_plain):
        y, end = how(a, b, state)
        np.testing.assert_allclose(y.numpy(), oracle(a, b, state), rtol=1e-11)
        assert torch.equal(end, y[:, -1])


@pytest.mark.parametrize("lengths", [None, LENGTHS, LENGTHS.int()], ids=["all", "some", "int32"])
@every_kind
def test_equal_to_the_plain_loop_forward_and_backward(
    dtype: torch.dtype, constant: bool, lengths: Tensor | None
) -> None:
    leaves = given_numbers(dtype, constant)
    compiled = everything(scan, *leaves, lengths=lengths)
    plain = everything(scan_plain, *leaves, lengths=lengths)
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    if lengths is not None:
        assert not compiled[0][torch.arange(6) >= LENGTHS.unsqueeze(1)].any()
        assert torch.equal(compiled[1][1], leaves[2][1])


@every_kind
def test_single_precision_is_near_the_double(dtype: torch.dtype, constant: bool) -> None:
    a, b, state = given_numbers(dtype, constant, 2, 200, 20)
    a = 0.99 * a / a.abs()
    narrow = torch.complex64 if dtype.is_complex else torch.float32
    y, end = scan(a.to(narrow), b.to(narrow), state.to(narrow))
    assert y.dtype == end.dtype == narrow
    torch.testing.assert_close(y.to(dtype), scan_plain(a, b, state)[0], rtol=1e-4, atol=1e-4)


@every_kind
def test_gradients_are_those_of_finite_differences(dtype: torch.dtype, constant: bool) -> None:
    leaves = [leaf.requires_grad_() for leaf in given_numbers(dtype, constant, 2, 3, 2)]
    assert torch.autograd.gradcheck(lambda *z: scan(*z, torch.tensor([3, 2])), leaves)
    assert torch.autograd.gradcheck(lambda *z: scan(*z)[0], leaves)
    assert torch.autograd.gradcheck(lambda *z: scan(*z)[1], leaves)


@settings(max_examples=30)
@given(st.integers(0, 5), st.integers(0, 70), st.integers(1, 70), st.integers(1, 5), st.data())
def test_any_shape_on_any_number_of_threads(
    B: int, T: int, C: int, threads: int, data: st.DataObject
) -> None:
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B)))
    a, b, state = torch.rand(B, T, C).double(), torch.randn(B, T, C).double(), torch.ones(B, C)
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recurra.nn.kernels.scans.channels.WORTH_A_THREAD", 1)
        torch.set_num_threads(threads)
        try:
            got = everything(scan, a, b, state.double(), lengths=lengths.long())
        finally:
            torch.set_num_threads(before)
    expected = everything(scan_plain, a, b, state.double(), lengths=lengths.long())
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 20), st.integers(0, 20))
def test_two_pieces_are_the_whole(first: int, second: int) -> None:
    a, b, state = given_numbers(torch.float64, False, 2, first + second, 3)
    head, middle = scan(a[:, :first], b[:, :first], state)
    tail, end = scan(a[:, first:], b[:, first:], middle)
    whole, last = scan(a, b, state)
    torch.testing.assert_close((torch.cat([head, tail], dim=1), end), (whole, last))


def test_it_is_linear_in_what_comes_in() -> None:
    a, b, state = given_numbers(torch.float64, False)
    zero = torch.zeros_like(state)
    split = scan(a, b, zero)[0] + scan(a, torch.zeros_like(b), state)[0]
    torch.testing.assert_close(split, scan(a, b, state)[0])


@pytest.mark.parametrize("constant", [False, True])
def test_pairs_are_complex_numbers(constant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = given_numbers(torch.complex128, constant)
    pairs = [torch.cat([z.real, z.imag], dim=-1) for z in numbers]
    y, end = scan_plain(*numbers, LENGTHS)
    for _ in ("compiled", "plain"):
        got, last = scan_pairs(*pairs, LENGTHS)
        torch.testing.assert_close(got, torch.cat([y.real, y.imag], dim=-1))
        torch.testing.assert_close(last, torch.cat([end.real, end.imag], dim=-1))
        monkeypatch.setattr(module, "served", lambda x: "not now")


@every_kind
def test_the_loop_runs_where_compiled_kernels_do_not(
    dtype: torch.dtype, constant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = given_numbers(dtype, constant)
    expected = scan(*leaves, LENGTHS)
    monkeypatch.setattr(module, "served", lambda x: "not now")
    torch.testing.assert_close(scan(*leaves, LENGTHS), expected)
    half = [leaf.to(torch.bfloat16) for leaf in given_numbers(torch.float32, constant)]
    monkeypatch.undo()
    assert scan(*half)[0].dtype == torch.bfloat16


def test_strided_and_expanded_arguments() -> None:
    a, b, state = given_numbers(torch.float64, False)
    turned = b.transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(scan(a, turned, state), scan(a, b, state))
    leaf = b.clone().requires_grad_()
    scan(a, leaf, state)[0].sum().backward()  # whose gradient comes expanded, without strides
    other = b.clone().requires_grad_()
    scan_plain(a, other, state)[0].sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad)


def test_a_gradient_may_be_asked_for_twice() -> None:
    leaves = [leaf.requires_grad_() for leaf in given_numbers(torch.float64, False)]
    loss = scan(*leaves)[0].square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    again = torch.autograd.grad(loss, leaves, retain_graph=True)
    assert all(torch.equal(one, other) for one, other in zip(first, again))


@every_kind
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "ragged"])
def test_a_gradient_may_be_differentiated(
    dtype: torch.dtype, constant: bool, lengths: Tensor | None
) -> None:
    leaves = [leaf.requires_grad_() for leaf in given_numbers(dtype, constant)]

    def how(*leaves: Tensor) -> Tensor:
        return scan(*leaves, lengths)[0]

    assert torch.autograd.gradgradcheck(how, leaves, fast_mode=True)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (((3,), (4, 3), (4, 3)), r"b is \(B, T, C\) of torch.float32, got \(4, 3\) of"),
        (((2,), (4, 6, 3), (4, 3)), r"a is \(C\) of .* T = 6, C = 3, got \(2,\)"),
        (((4, 6, 1), (4, 6, 3), (4, 3)), r"a is \(B, T, C\) of .*, got \(4, 6, 1\)"),
        (((3,), (4, 6, 3), (1, 3)), r"state is \(B, C\) of .*, got \(1, 3\)"),
    ],
    ids=["two dimensions", "other channels", "one channel", "other rows"],
)
def test_shapes_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], ...], said: str) -> None:
    for how in (scan, scan_plain, scan_pairs):
        with pytest.raises(ShapeError, match=said):
            how(*(torch.zeros(shape) for shape in shapes))


def test_half_a_pair_is_refused() -> None:
    with pytest.raises(ShapeError, match="as many imaginary parts as real ones, got 3"):
        scan_pairs(torch.zeros(3), torch.zeros(4, 6, 3), torch.zeros(4, 3))


@pytest.mark.parametrize("loop", ["_varying", "_constant", "_varying_pairs", "_constant_pairs"])
def test_torch_knows_the_operators(loop: str) -> None:
    constant, C = "constant" in loop, 4
    a, b, state = given_numbers(torch.float64, constant, 2, 3, C)
    for leaf in (a, b, state):
        leaf.requires_grad_()
    sequences, weights = ([b], a) if constant else ([a, b], a.new_empty(0))
    arguments = (sequences, weights, state, torch.tensor([3, 1]), 0.0)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(getattr(module, loop).ahead, arguments, test_utils=tests)


@pytest.mark.parametrize("lengths", [[10**7], [-1], [1, 1]])
def test_lengths_out_of_the_sequence_are_refused(lengths: list[int]) -> None:
    a, b = torch.rand(1, 3, 4), torch.rand(1, 3, 4)
    with pytest.raises(ValueError, match=r"lengths are 1 integers in 0 \.\.\. 3"):
        scan(a, b, torch.rand(1, 4), torch.tensor(lengths))
