"""Weights of torch, beside its own outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from recurra.errors import ConfigError, ShapeError
from recurra.nn.cells.gru import GRUCell
from recurra.nn.cells.lstm import LSTMCell, LSTMState
from recurra.nn.cells.peephole_lstm import PeepholeLSTMCell
from recurra.nn.cells.projected_lstm import ProjectedLSTMCell
from recurra.nn.cells.rnn import RNNCell
from recurra.nn.unroll import unroll
from recurra.nn.weights import from_keras, from_torch, to_keras, to_torch
from recurra.nn.wrappers.bidirectional import Bidirectional
from recurra.nn.wrappers.dropout import Dropout
from recurra.nn.wrappers.residual import Residual
from recurra.nn.wrappers.stack import Stack

MODULES: dict[str, Any] = {
    "lstm": lambda **o: nn.LSTM(3, 4, **o),
    "gru": lambda **o: nn.GRU(3, 4, **o),
    "rnn": lambda **o: nn.RNN(3, 4, **o),
    "rnn relu": lambda **o: nn.RNN(3, 4, nonlinearity="relu", **o),
    "projected": lambda **o: nn.LSTM(3, 6, proj_size=2, **o),
}
FORMS: dict[str, dict[str, Any]] = {
    "one": {},
    "three layers": {"num_layers": 3},
    "both ways": {"bidirectional": True},
    "deep both ways": {"num_layers": 2, "bidirectional": True},
    "no bias": {"bias": False, "num_layers": 2},
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES)
def test_there_and_back_for_torch(make: Any, form: dict[str, Any], batch_first: bool) -> None:
    theirs = make(batch_first=batch_first, **form)
    x = torch.randn(2, 5, 3)
    y, _ = theirs(x if batch_first else x.transpose(0, 1))
    expected = y if batch_first else y.transpose(0, 1)
    ours = from_torch(theirs)
    torch.testing.assert_close(unroll(ours, x)[0], expected)
    back = to_torch(ours)
    assert type(back) is type(theirs) and back.batch_first
    torch.testing.assert_close(back(x)[0], expected)
    given = theirs.state_dict()
    assert back.state_dict().keys() == given.keys() and back.bias == theirs.bias
    for name, value in back.state_dict().items():
        assert torch.equal(value, given[name]), name
        assert value.data_ptr() != getattr(theirs, name).data_ptr()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_of_torch(kind: Any, bias: bool) -> None:
    theirs = kind(3, 4, bias=bias).double()
    ours = from_torch(theirs)
    x = torch.randn(2, 3, dtype=torch.float64)
    h = theirs(x)
    torch.testing.assert_close(
        ours(x, ours.initial_state(2))[0], h[0] if isinstance(h, tuple) else h
    )
    assert all(p.requires_grad == (bias or "bias" not in n) for n, p in ours.named_parameters())
    assert to_torch(ours)(x.unsqueeze(1))[0].shape == (2, 1, 4)


def test_biases_that_are_zero_but_learned_and_those_held_at_a_value_stay() -> None:
    cell = LSTMCell(3, 4)
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    assert to_torch(cell).bias and len(to_keras(cell)) == 3
    cell.bias_ih.requires_grad_(False)
    cell.bias_hh.requires_grad_(False)
    assert not to_torch(cell).bias and len(to_keras(cell)) == 2
    cell.bias_ih[2] = 1.0
    back = to_torch(Stack([cell, from_torch(nn.LSTM(4, 4, bias=False))]))
    assert back.bias and back.bias_ih_l0[2] == 1 and not back.bias_ih_l0.requires_grad
    assert not back.bias_ih_l1.any() and not back.bias_ih_l1.requires_grad


def test_nothing_is_drawn_for_weights_that_are_given() -> None:
    theirs = nn.LSTM(3, 4, 2, bidirectional=True)
    before = torch.get_rng_state()
    from_torch(theirs)
    from_keras(to_keras(LSTMCell(3, 4)), "lstm")
    assert not torch.equal(before, torch.get_rng_state())  # LSTMCell above drew its own
    torch.set_rng_state(before)
    from_torch(theirs)
    assert torch.equal(before, torch.get_rng_state())


def test_mode_kind_and_what_is_learned_go_along() -> None:
    theirs = nn.GRU(3, 4, 2).double().eval()
    theirs.weight_hh_l1.requires_grad_(False)
    ours = from_torch(theirs)
    assert not ours.training and next(ours.parameters()).dtype == torch.float64
    assert [n for n, p in ours.named_parameters() if not p.requires_grad] == ["cells.1.weight_hh"]
    back = to_torch(ours)
    assert not back.training and back.weight_ih_l0.dtype == torch.float64
    assert not back.weight_hh_l1.requires_grad and back.weight_hh_l0.requires_grad


def test_dropout_between_layers_goes_there_and_back() -> None:
    theirs = nn.LSTM(3, 4, 3, dropout=0.25, batch_first=True)
    ours = from_torch(theirs)
    assert [type(layer) for layer in ours.cells] == [Dropout, Dropout, LSTMCell]
    assert ours.inner(0).output == 0.25 and not ours.inner(0).variational
    assert to_torch(ours).dropout == 0.25
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(unroll(ours.eval(), x)[0], theirs.eval()(x)[0])
    awake = unroll(ours.train(), x, generator=torch.Generator().manual_seed(1))[0]
    assert not torch.allclose(awake, theirs(x)[0])


def test_parametrised_weights_go_as_they_are() -> None:
    cell = GRUCell(3, 4)
    parametrizations.weight_norm(cell, "weight_hh")
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(to_torch(cell)(x)[0], unroll(cell, x)[0])


def test_parametrised_weights_are_learned_as_what_makes_them_is() -> None:
    x = torch.randn(2, 5, 3)
    for theirs in (nn.LSTMCell(3, 4), nn.LSTM(3, 4)):
        end = "" if isinstance(theirs, nn.LSTMCell) else "_l0"
        parametrizations.weight_norm(theirs, f"weight_hh{end}")
        ours = from_torch(theirs)
        unroll(ours, x)[0].sum().backward()
        assert ours.weight_hh.is_leaf and ours.weight_hh.grad is not None
        made = theirs.parametrizations[f"weight_hh{end}"]
        made.original0.requires_grad_(False)
        made.original1.requires_grad_(False)
        assert not from_torch(theirs).weight_hh.requires_grad
    cell = parametrizations.weight_norm(GRUCell(3, 4), "weight_hh")
    back = to_torch(cell)
    back(x)[0].sum().backward()
    assert back.weight_hh_l0.is_leaf and back.weight_hh_l0.grad is not None


class Mine(LSTMCell):
    """Whose step is another."""

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        return super().forward(2 * x, state)


@pytest.mark.parametrize(
    ("ours", "why"),
    [
        (lambda: GRUCell(3, 4, reset_after=False), "GRUCell, whose reset gate acts before"),
        (lambda: PeepholeLSTMCell(3, 4), "torch.nn has no module for PeepholeLSTMCell"),
        (lambda: Mine(3, 4), "torch.nn has no module for Mine"),
        (lambda: Residual(LSTMCell(4, 4)), "to_torch: torch.nn has nothing for Residual"),
        (lambda: Stack([LSTMCell(3, 4), GRUCell(4, 4)]), r"one kind .* LSTMCell\(3, 4\), GRUCell"),
        (lambda: Stack([LSTMCell(3, 4), LSTMCell(4, 5)]), "of one kind and width in torch"),
        (lambda: Bidirectional(RNNCell(3, 4), RNNCell(3, 4, "relu")), "of one kind and width"),
        (lambda: Bidirectional(RNNCell(3, 4), RNNCell(3, 4), "sum"), "concatenates the two"),
        (lambda: Dropout(LSTMCell(3, 4), output=0.5), "one probability, between layers"),
        (
            lambda: Stack([Dropout(LSTMCell(3, 4), output=0.5), LSTMCell(4, 4), LSTMCell(4, 4)]),
            r"between layers; got \[0.5, 0.0, 0.0\], a layer each",
        ),
        (
            lambda: Stack([Dropout(LSTMCell(3, 4), input=0.1, output=0.5), LSTMCell(4, 4)]),
            "torch drops outputs of layers, step by step",
        ),
        (lambda: ProjectedLSTMCell(3, 4, 8, cell_clip=1.0), "clips nothing"),
        (lambda: ProjectedLSTMCell(3, 4, 4), "its outputs are fewer"),
        (lambda: Stack([Stack([LSTMCell(3, 4)])]), "put all layers into one"),
        (lambda: nn.LSTM(3, 4), r"to_torch takes a cell or wrapper, got LSTM of torch.nn"),
        (lambda: LSTMCell, "got the class LSTMCell: make one"),
        (lambda: "lstm", "got 'lstm'"),
    ],
)
def test_what_torch_has_nothing_for(ours: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as error:
        to_torch(ours())
    assert "\n" not in str(error.value)


def test_modules_that_are_not_recurrent_are_refused() -> None:
    class Other(nn.LSTM):
        def forward(self, *args: Any) -> Any:  # type: ignore[override]
            return super().forward(2 * args[0])

    given: dict[Any, str] = {
        nn.Linear(3, 4): "Linear$",
        LSTMCell(3, 4): "LSTMCell of recurra, which needs no conversion",
        Stack([LSTMCell(3, 4)]): "Stack of recurra, which needs no conversion",
        nn.LSTM: "the class LSTM: make one of it",
        Other(3, 4): "Other, a subclass with a forward of its own",
        nn.Sequential(nn.LSTM(3, 4)): "Sequential: hand over the recurrent module that is in it",
        "lstm": "str$",
    }
    for each, why in given.items():
        with pytest.raises(ConfigError, match=f"nn.RNN, or a cell of torch.nn, got {why}"):
            from_torch(each)
    with pytest.raises(ConfigError, match="got OrderedDict: load it into its module first"):
        from_torch(nn.LSTM(3, 4).state_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["weight_ih", "weight_hh", "bias_ih", "bias_hh"])
@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_damaged_modules_are_refused_by_the_name_of_what_is_wrong(make: Any, place: str) -> None:
    name = place if issubclass(make, nn.RNNCellBase) else f"{place}_l0"
    for damage in (lambda each: each[:1], lambda each: each[..., :1], lambda _: None):
        theirs = make(3, 4)
        given = damage(getattr(theirs, name).detach())
        setattr(theirs, name, None if given is None else nn.Parameter(given))
        got = "missing" if given is None else r"\(.*\)"
        with pytest.raises(ShapeError, match=rf"{name} of the {make.__name__} is {got}, expected"):
            from_torch(theirs)


def test_hooks_are_said_to_be_in_the_way() -> None:
    pruned = prune.random_unstructured(LSTMCell(3, 4), "weight_hh", 0.5)
    with pytest.raises(ConfigError, match="for LSTMCell, whose hooks act at every step: remove"):
        to_torch(pruned)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_all_is_dropped_between_layers_where_torch_drops_all(bidirectional: bool) -> None:
    theirs = nn.LSTM(3, 4, 2, dropout=1.0, batch_first=True, bidirectional=bidirectional)
    ours = from_torch(theirs)
    x = torch.randn(2, 5, 3)
    y, _ = unroll(ours, x, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(y, theirs(x)[0])  # both read zeros in the second layer
    y.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in ours.parameters())
    torch.testing.assert_close(unroll(ours.eval(), x)[0], theirs.eval()(x)[0])
    assert to_torch(ours).dropout == 1.0


def test_modules_without_numbers_yet() -> None:
    with torch.device("meta"):
        theirs = nn.GRU(3, 4, 2, bidirectional=True, bias=False)
    ours = from_torch(theirs)
    assert all(parameter.is_meta for parameter in ours.parameters())
    assert all(parameter.is_meta for parameter in to_torch(ours).parameters())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weights_normed_the_old_way() -> None:
    theirs = nn.utils.weight_norm(nn.LSTM(3, 4, batch_first=True), "weight_hh_l0")
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(unroll(from_torch(theirs), x)[0], theirs(x)[0])


def test_bfloat16_stays() -> None:
    theirs = nn.LSTM(3, 4, batch_first=True).bfloat16()
    ours = from_torch(theirs)
    for name, parameter in ours.named_parameters():
        assert parameter.dtype == torch.bfloat16
        assert torch.equal(parameter, getattr(theirs, f"{name}_l0"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_modules_are_refused_by_name() -> None:
    for kind in (nn.LSTM, nn.GRUCell):
        theirs = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(kind(3, 4)), {kind}, dtype=torch.qint8
        )[0]
        with pytest.raises(ConfigError, match=rf"got {kind.__name__} of torch.*quantised: take"):
            from_torch(theirs)
