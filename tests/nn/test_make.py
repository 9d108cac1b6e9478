"""Cells made of what one writes, and whose start it is that they have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from recurra.errors import CheckpointError, ConfigError
from recurra.language.network import LanguageNetwork
from recurra.language.options import NetworkOptions
from recurra.nn.cells import CELLS
from recurra.nn.make import keeps_own_start, make_cell, own_place, recipes_of, written
from recurra.nn.wrappers.residual import Residual
from recurra.table import named_by_file


@pytest.mark.parametrize(
    ("spec", "name", "options"),
    [
        ("lstm", "lstm", {}),
        (" mlstm( num_heads = 4 ) ", "mlstm", {"num_heads": 4}),
        ("gru(reset_after=False)", "gru", {"reset_after": False}),
        ("gru(reset_after=false)", "gru", {"reset_after": False}),
        ("lru(state_size=none)", "lru", {"state_size": None}),
        ("rnn(nonlinearity=relu)", "rnn", {"nonlinearity": "relu"}),
        ("rnn(nonlinearity='relu')", "rnn", {"nonlinearity": "relu"}),
        ("clockwork_rnn(periods=[1, 3])", "clockwork_rnn", {"periods": [1, 3]}),
        ("a.b:C(x=-1.5e-3, y=(2, 3))", "a.b:C", {"x": -1.5e-3, "y": (2, 3)}),
        ("mine:Cell()", "mine:Cell", {}),
    ],
)
def test_what_is_written(spec: str, name: str, options: dict[str, Any]) -> None:
    assert written(spec) == (name, options)


@pytest.mark.parametrize(
    "spec",
    [
        "mlstm(4)",
        "mlstm(num_heads=4",
        "mlstm(num_heads=4))",
        "mlstm(**{})",
        "gru(x=f())",
        "a(",
        "a(b",
        "lstm(forget_bias=1)(2)",
        "lstm(a=__import__('os'))",
        f"lstm(a={'(' * 500})",
    ],
)
def test_what_cannot_be_read(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: options are written name\(option=val"):
        written(spec)


def test_options_reach_the_cell() -> None:
    cell = make_cell("mlstm(num_heads=2)", 3, 4, {"forget_bias": 1.5})
    assert (cell.num_heads, cell.forget_bias) == (2, 1.5)
    assert make_cell("gru", 3, 4, {"reset_after": False}).reset_after is False
    assert make_cell("clockwork_rnn", 3, 4, {"periods": [1, 3]}).periods == (1, 3)


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("mlstm(heads=2)", None, r"'heads'. Did you mean 'num_heads'\? It takes num_heads, forget"),
        ("qrnn", {"depth": 2}, "qrnn takes no option 'depth'. It takes none"),
        ("gru(reset_after=True)", {"reset_after": True}, "reset_after is given twice"),
        ("lsmt", None, "Did you mean 'lstm'"),
        ("lstm", {"activation": "sine"}, "sine"),
        ("lstm", {"hidden_size": 3}, "takes no option 'hidden_size'"),
    ],
)
def test_what_is_no_option(spec: str, options: dict[str, Any] | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_cell(spec, 3, 4, options)


def test_a_function_that_makes_a_cell_is_a_cell() -> None:
    found = make_cell("own_cells:around(forget_bias=5)", 4, 4)
    assert isinstance(found, Residual)
    assert 4.4 < found.inner().bias_ih.detach().chunk(4)[1].mean().item() < 5.6
    with pytest.raises(ConfigError, match=r"of_three.* is a cell of 3 inputs and 4 outputs"):
        make_cell("own_cells:of_three", 5, 4)
    with pytest.raises(ConfigError, match="own_cells:nothing takes a cell or wrapper, got None"):
        make_cell("own_cells:nothing", 5, 4)


def test_a_file_cannot_have_a_function_called() -> None:
    with named_by_file("runs/theirs"), pytest.raises(CheckpointError, match="is not a cell"):
        make_cell("subprocess:call", 3, 4)
    with named_by_file("runs/mine", ["own_cells:around"]):
        assert isinstance(make_cell("own_cells:around", 4, 4), Residual)


# Starts


def network(cell: str, seed: int = 1, **options: Any) -> LanguageNetwork:
    settings = NetworkOptions(cell=cell, hidden_size=6, **options)
    return LanguageNetwork(settings, 13, torch.Generator().manual_seed(seed))


def cells(found: nn.Module, kind: type) -> list[Any]:
    return [part for part in found.modules() if isinstance(part, kind)]


@pytest.mark.parametrize("init", ["scale", "width"])
@pytest.mark.parametrize("zero_bias", [True, False])
def test_nothing_is_drawn_over_ones_own_start(init: Any, zero_bias: bool) -> None:
    found = cells(
        network("own_cells:OwnStartCell", init=init, zero_bias=zero_bias),
        CELLS["own_cells:OwnStartCell"],
    )
    assert len(found) == 2
    for cell in found:
        assert cell.bias_ih.chunk(4)[1].detach().unique().tolist() == [torch.tensor(3.71).item()]
        assert cell.decay.detach().eq(0.9).all() and cell.bias_hh.requires_grad
        for block in cell.weight_hh.chunk(4):
            assert block.abs().max() > 0.1  # a recipe draws within a tenth
        gram = cell.weight_hh.T @ cell.weight_hh
        torch.testing.assert_close(gram, torch.eye(6), atol=1e-5, rtol=0)


def test_ones_own_start_follows_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = network("own_cells:OwnStartCell")
    other = network("own_cells:OwnStartCell")
    before = torch.get_rng_state()
    make_cell("own_cells:OwnStartCell", 3, 4, generator=torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)  # torch's own generator is left as it was
    assert all(map(torch.equal, one.parameters(), other.parameters()))
    layers = cells(one, CELLS["own_cells:OwnStartCell"])
    assert not torch.equal(layers[0].weight_hh, layers[1].weight_hh)
    another = network("own_cells:OwnStartCell", seed=2)
    assert not torch.equal(
        cells(another, CELLS["own_cells:OwnStartCell"])[0].weight_hh, layers[0].weight_hh
    )


def test_forecasters_and_classifiers_leave_it_too() -> None:
    from recurra.labels.network import SequenceNetwork
    from recurra.labels.options import LabelNetworkOptions
    from recurra.series.network.model import Member, Shape
    from recurra.series.options import ForecastOptions

    draws = torch.Generator().manual_seed(1)
    shape = Shape(context=12, segment=4, horizon=6, lag=4, seen=3, known=2, static=2, variables=3)
    options = ForecastOptions(cell="own_cells:OwnStartCell", hidden_size=6)
    series = Member(options, shape, draws)
    labels = SequenceNetwork(
        LabelNetworkOptions(cell="own_cells:OwnStartCell", hidden_size=6), 3, 4, draws
    )
    for found in (series, labels):
        several = cells(found, CELLS["own_cells:OwnStartCell"])
        assert several and all((cell.decay == 0.9).all() for cell in several)
        assert all((cell.bias_ih.chunk(4)[1] - 3.71).abs().max() < 1e-6 for cell in several)


def test_recipes_are_for_classes_that_say_so_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipes_of("lstm") == ("weights", "biases") and recipes_of("peephole_lstm") == (
        "biases",
    )
    assert not any(keeps_own_start(name) for name in CELLS)
    # one that derives from another of the package's, in the package too
    monkeypatch.setitem(CELLS.places, "chrono", "own_cells:ChronoCell")
    assert recipes_of("chrono") == () and keeps_own_start("chrono")
    found = cells(network("chrono"), CELLS["own_cells:ChronoCell"])
    assert len(found) == 2
    for cell in found:
        assert (cell.bias_ih.chunk(4)[1] - 3.71).abs().max() < 1e-6
    assert own_place("recurra.nn.cells.gru:GRUCell") is None


def test_the_packages_cells_start_as_ever() -> None:
    by_recipe = network("lstm", init_scale=0.05)
    for cell in cells(by_recipe, CELLS["lstm"]):
        assert cell.weight_hh.abs().max() <= 0.05 and not cell.bias_hh.any()
        assert cell.bias_ih.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    own_law = cells(network("slstm"), CELLS["slstm"])
    assert all(float(cell.weight_ih.detach().abs().max()) > 0.1 for cell in own_law)
