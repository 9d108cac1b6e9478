"""Optimizers, schedules, losses, regularisers of one's own: in each task, to the bit, or refused.

What they compute is held against the same written into a plain loop of torch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recurra as rc
from recurra.cli import main
from recurra.errors import CheckpointError, ConfigError, RunError
from recurra.language.entry import LanguageRun
from recurra.language.options import NetworkOptions, TextOptions
from recurra.learning.config import with_settings
from recurra.learning.event import Saved, Stepped
from recurra.learning.optimization import learning_rate, make_optimizer, take_step
from recurra.learning.options import TrainOptions
from recurra.run.asked import Asked
from recurra.storage.files import sha256
from recurra.table import named_by_file

SOURCE = '''
import torch
from torch.nn import functional as F
from recurra import GRUCell
from recurra.nn.cells.kernel import Kernel

class Signed(torch.optim.Optimizer):
    """Odd on purpose: other dtypes, nested state, text, groups that grow, noise."""
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.99), noise=0.0, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, noise=noise, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["taken"] = group.get("taken", 0) + 1
            for p in group["params"]:
                if p.grad is None:
                    continue  # a member that does not learn at this step
                state = self.state[p]
                if not state:
                    state["mean"] = torch.zeros_like(p, dtype=torch.float64)
                    state["count"] = torch.tensor(0)
                    state["seen"] = [None, {"norms": (0.0, "none yet")}, True]
                state["count"] += 1
                state["seen"][1]["norms"] = (float(p.grad.norm()), "l2")
                keep, slow = group["betas"]
                go = (keep * state["mean"] + (1 - keep) * p.grad).sign().float()
                go += group["noise"] * torch.randn_like(p)
                p.add_(go, alpha=-group["lr"])
                state["mean"].mul_(slow).add_(p.grad, alpha=1 - slow)
        self.state["all"]["last"] = group["lr"]

class Own(Signed):
    """Keeps a number on itself, and says so."""
    lately = 0
    def step(self):
        self.lately += 1
        super().step()
    def state_dict(self):
        return {**super().state_dict(), "lately": self.lately}
    def load_state_dict(self, state):
        self.lately = state["lately"]
        torch.optim.Optimizer.load_state_dict(self, state)
        parameters = [p for group in self.param_groups for p in group["params"]]
        for key, value in state["state"].items():
            self.state[parameters[key] if isinstance(key, int) else key] = value

def in_groups(named, lr, momentum=0.9):
    biases = [p for name, p in named if "bias" in name]
    rest = [p for name, p in named if "bias" not in name]
    groups = [{"params": rest}, {"params": biases, "lr": lr / 10}]
    return torch.optim.SGD(groups, lr=lr, momentum=momentum)

def falling(step, steps, epoch, least=0.1):
    return max(least, 1 - step / steps) / (1 + epoch)

def smooth(outputs, targets, epsilon=0.1):
    log_probs = F.log_softmax(outputs, 1)
    return F.cross_entropy(log_probs, targets, label_smoothing=epsilon)

def huber(outputs, targets):
    return F.huber_loss(outputs, targets[:, None].expand_as(outputs))

def small(model, weight=1e-4):
    return weight * sum(p.square().sum() for p in model.parameters())

def quiet(model, hidden, alpha=2.0):
    return alpha * (hidden + 0.01 * torch.randn_like(hidden)).square().mean()

class Nothing:
    pass

class NoKernel(GRUCell):
    def kernel(self, x):
        return Kernel("nothing at all", self.run)
    def run(self, x, state, lengths):
        return x.new_zeros(*x.shape[:2], self.output_size), state

class Keeps(Signed):
    def step(self):
        self.taken = getattr(self, "taken", 0) + 1
        super().step()

class KeepsASet(Signed):
    def step(self):
        super().step()
        self.state["all"]["names"] = {1, 2}

class Forgets(Own):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.lately = 0

class Raises(Signed):
    def step(self):
        return 1 / 0

class Breaks(Signed):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(float("nan"))

class Rateless(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {})

def leaves_out(named, lr):
    return torch.optim.SGD([p for _, p in named[1:]], lr=lr)

def no_optimizer(named, lr):
    return 3

def not_a_number(step, steps, epoch):
    return float("nan")

def below(step, steps, epoch):
    return -1.0

def late(step, steps, epoch):
    return 1 - step / 4

def nothing(step, steps, epoch):
    return None

def one(step):
    return 1.0

def raises(step, steps, epoch):
    return [][step]

def vector(outputs, targets):
    return outputs

def detached(outputs, targets):
    return outputs.detach().mean()

def undefined(model):
    return next(model.parameters()).sum() * float("nan")

def a_float(model):
    return 0.5

def breaks(model):
    raise KeyError("weights")
'''


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine_own.py").write_text(SOURCE)
    threads = torch.get_num_threads()
    yield
    sys.modules.pop("mine_own", None)
    torch.set_num_threads(threads)


def line(text: str) -> int:
    return SOURCE.splitlines().index(text) + 1


def language(*settings: str) -> Any:
    config = LanguageRun(
        preset="mine",
        threads=1,
        data=TextOptions(corpus="grammar", chunk_length=15),
        network=NetworkOptions(hidden_size=8, dropout=0.4),
        train=TrainOptions(steps=8, batch_size=800, learning_rate=0.01, save_seconds=0),
    )
    return with_settings(config, settings)


def series(*settings: str) -> Any:
    small = [
        *("data.horizon=4", "data.season=1", "network.hidden_size=4", "network.members=2"),
        *("train.steps=8", "train.batch_size=16", "train.learning_rate=0.01", "threads=1"),
        *("train.save_seconds=0", "train.warmup_steps=0"),
    ]
    return with_settings(rc.preset("series"), [*small, *settings])


def labels(*settings: str) -> Any:
    small = ["train.steps=8", "train.save_seconds=0", "threads=1", "train.learning_rate=0.01"]
    return with_settings(rc.preset("iris"), [*small, *settings])


NUMBERS = [np.sin(np.arange(60) / 3 + n) + 0.1 * np.cos(np.arange(60)) for n in range(2)]
RUNS: dict[str, tuple[Any, Any]] = {
    "language": (language, None),
    "series": (series, NUMBERS),
    "labels": (labels, None),
}

ALL = {
    "signed": ("train.optimizer=mine_own:Signed", "train.optimizer_options.noise=0.001"),
    "its own state_dict": ("train.optimizer=mine_own:Own",),
    "groups": ("train.optimizer=mine_own:in_groups", "train.optimizer_options.momentum=0.8"),
    "torch's": ("train.optimizer=torch.optim:NAdam", "train.optimizer_options.betas=0.8/0.99"),
    "schedule": ("train.schedule=mine_own:falling", "train.schedule_options.least=0.3"),
    "regulariser": ("train.regulariser=mine_own:small", "train.regulariser_options.weight=0.01"),
}
LOSSES = {"language": "smooth", "series": "huber", "labels": "smooth"}


def learned(run: Path) -> dict[str, str]:
    newest = sorted((run / "checkpoints").iterdir())[-1]
    files = [*newest.glob("*.safetensors"), *(run / "model").iterdir(), run / "metrics.jsonl"]
    return {path.relative_to(run).as_posix(): sha256(path) for path in files}


def cut(config: Any, data: Any, run: Path, step: int) -> None:
    """Train and vanish, as if killed, once the checkpoint of `step` is written."""
    events = rc.train(config, data=data, out=run)
    assert any(isinstance(event, Saved) and event.step == step for event in events)
    events.close()


@pytest.mark.usefixtures("knows_grammar")
@pytest.mark.parametrize("task", RUNS)
@pytest.mark.parametrize("what", [*ALL, "loss"])
def test_a_run_that_is_cut_goes_on_to_the_bit(task: str, what: str, tmp_path: Path) -> None:
    make, data = RUNS[task]
    config = make(*ALL.get(what, (f"train.loss=mine_own:{LOSSES[task]}",)))
    list(rc.train(config, data=data, out=tmp_path / "whole"))
    cut(config, data, tmp_path / "cut", 3)
    sys.modules.pop("mine_own", None)  # another process imports it anew
    torch.manual_seed(12345)
    list(rc.train(config, data=data, out=tmp_path / "cut"))
    assert learned(tmp_path / "cut") == learned(tmp_path / "whole")
    plain = make()
    list(rc.train(plain, data=data, out=tmp_path / "plain"))
    assert (
        learned(tmp_path / "plain")["metrics.jsonl"] != learned(tmp_path / "cut")["metrics.jsonl"]
    )


@pytest.mark.usefixtures("knows_grammar")
def test_all_at_once_and_the_hidden_outputs_too(tmp_path: Path) -> None:
    every = ["optimizer=mine_own:Signed", "schedule=mine_own:falling", "loss=mine_own:smooth",
             "regulariser=mine_own:quiet"]  # fmt: skip
    config = language(*(f"train.{each}" for each in every))
    left = []
    for each, out in ((language(), "plain"), (config, "whole")):
        torch.manual_seed(5)
        list(rc.train(each, out=tmp_path / out))
        left.append(torch.random.get_rng_state())
    assert torch.equal(*left)  # the caller's randomness is as any training leaves it
    cut(config, None, tmp_path / "cut", 5)
    list(rc.train(config, out=tmp_path / "cut"))
    assert learned(tmp_path / "cut") == learned(tmp_path / "whole")
    # the run is judged as every other, and its report prints the command that trains it again
    report = json.loads((tmp_path / "cut" / "report.json").read_text())
    assert report["valid"]["perplexity"] > 1
    read = json.loads((tmp_path / "cut" / "config.json").read_text())["train"]
    assert read["loss"] == "mine_own:smooth" and read["optimizer_options"] == {}


# What is computed


def test_ones_own_optimizer_takes_the_steps_that_it_takes_in_a_plain_loop() -> None:
    options = TrainOptions(
        optimizer="mine_own:Signed", learning_rate=0.5, optimizer_options={"betas": "0.8/0.5"}
    )
    ours = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    theirs = torch.nn.Parameter(ours.detach().clone())
    optimizer = make_optimizer([("weight", ours)], options)
    plain = type(optimizer)([theirs], lr=0.5, betas=(0.8, 0.5))
    for rate in (0.5, 0.25, 0.125):
        for parameter in (ours, theirs):
            parameter.grad = None
            (parameter * torch.tensor([1.0, -3.0])).sum().backward()
        take_step(optimizer, options, rate)
        plain.param_groups[0]["lr"] = rate
        plain.step()
        assert torch.equal(ours, theirs)


def test_groups_keep_the_ratio_of_their_rates() -> None:
    options = TrainOptions(optimizer="mine_own:in_groups", learning_rate=0.5)
    named = [(n, torch.nn.Parameter(torch.ones(2))) for n in ("weight", "bias")]
    optimizer = make_optimizer(named, options)
    for _, parameter in named:
        parameter.grad = torch.ones(2)
    take_step(optimizer, options, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.025]
    assert named[0][1].tolist() == [0.75] * 2 and named[1][1].tolist() == pytest.approx([0.975] * 2)


def test_a_schedule_of_ones_own_begins_after_the_warm_up_at_the_peak() -> None:
    options = TrainOptions(
        learning_rate=2,
        schedule="mine_own:falling",
        warmup_steps=2,
        schedule_options={"least": 0.5},
    )
    rates = [learning_rate(options, step, 6, step // 3) for step in range(6)]
    assert rates == pytest.approx([1, 2, 2, 0.75, 0.5, 0.5])


@pytest.mark.usefixtures("knows_grammar")
def test_a_loss_of_ones_own_is_what_is_descended(tmp_path: Path) -> None:
    """Without smoothing it is the task's own, so the first steps agree."""
    steps = []
    for n, settings in enumerate(
        [(), ("train.loss=mine_own:smooth", "train.loss_options.epsilon=0")]
    ):
        events = rc.train(language("train.optimizer=adam", *settings), out=tmp_path / str(n))
        steps.append([event.loss for event in events if isinstance(event, Stepped)])
    assert steps[0] == pytest.approx(steps[1], rel=1e-5)


@pytest.mark.usefixtures("knows_grammar")
def test_a_regulariser_is_added_to_the_loss(tmp_path: Path) -> None:
    weight = 0.25
    config = language("train.steps=1")
    (plain,) = [e for e in rc.train(config, out=tmp_path / "a") if isinstance(e, Stepped)]
    own = language("train.steps=1", "train.regulariser=mine_own:small",
                   f"train.regulariser_options.weight={weight}")  # fmt: skip
    (more,) = [e for e in rc.train(own, out=tmp_path / "b") if isinstance(e, Stepped)]
    from recurra.language.task import LanguageTask

    network = LanguageTask(config, torch.device("cpu")).learner.network
    expected = weight * sum(float(p.detach().square().sum()) for p in network.parameters())
    assert more.loss - plain.loss == pytest.approx(expected, rel=1e-4)


# What is refused, in one line


REFUSED = [
    ("optimizer=adm", "train.optimizer is 'adm', but must be one of sgd, adagrad, adam, adamw, or "
     "module:Name of your own. Did you mean 'adam'?"),
    ("optimizer=mine_own.Signed", "or module:Name of your own"),
    ("optimizer=mine_own:", "or module:Name of your own"),
    ("optimizer=mine_own:Signd", "has no attribute 'Signd'. Did you mean 'Signed'?"),
    ("optimizer=nowhere:Signed", "cannot be imported: No module named 'nowhere'"),
    ("optimizer=mine_own:Nothing", "'mine_own:Nothing' is not an optimizer: derive it from "
     "torch.optim.Optimizer, or give a function"),
    ("optimizer=mine_own:Rateless", "its groups have no number lr"),
    ("optimizer=mine_own:leaves_out", "it leaves out 1 of 9 parameters, embedding the first"),
    ("optimizer=mine_own:no_optimizer", "it returned a int, but must return a torch.optim.Optim"),
    ("optimizer=mine_own:small", "TypeError: small() got an unexpected keyword argument 'lr'"),
    ("optimizer_options.lr=3", "train.optimizer_options.lr is set by train.learning_rate"),
    ("optimizer_options.nestrov=1", "train.optimizer=sgd takes no option 'nestrov'. Did you mean "
     "'nesterov'? It takes lr, momentum"),
    ("optimizer=mine_own:Signed train.optimizer_options.noisy=3",
     "train.optimizer=mine_own:Signed takes no option 'noisy'. Did you mean 'noise'?"),
    ("optimizer_options=3", "holds values by name: give train.optimizer_options.NAME=VALUE"),
    ("optimiser_options.a=3", "Did you mean 'train.optimizer_options.a'?"),
    ("schedule=stp", "must be one of constant, tutorial, linear, cosine, or module:Name of your"),
    ("schedule=mine_own:Nothing", "'mine_own:Nothing' is not a schedule: it must be a function"),
    ("schedule=mine_own:one", "it takes (step); too many positional arguments, of 3 by place"),
    ("schedule=mine_own:falling train.schedule_options.lest=3", "Did you mean 'least'?"),
    ("schedule=mine_own:not_a_number", "it returned nan at step 0, but must return a finite num"),
    ("schedule=mine_own:below", "it returned -1.0 at step 0"),
    ("schedule=mine_own:late", "it returned -0.25 at step 5, but must return a finite number"),
    ("schedule=mine_own:nothing", "it returned None at step 0"),
    ("schedule=mine_own:raises", "IndexError: list index out of range (mine_own.py:"),
    ("schedule_options.least=1", "train.schedule=constant: it takes (step: "),
    ("loss=smooth", "train.loss is 'smooth', but must be module:Name of your own, or none"),
    ("loss=mine_own:one", "train.loss=mine_own:one: it takes (step); too many"),
    ("regulariser=mine_own:falling", "it takes (step, steps, epoch, least=0.1)"),
]  # fmt: skip


@pytest.mark.usefixtures("knows_grammar")
@pytest.mark.parametrize(("setting", "message"), REFUSED, ids=[s for s, _ in REFUSED])
def test_what_does_not_fit_is_refused_before_anything_is_written(
    setting: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        list(rc.train(language(*f"train.{setting}".split()), out=tmp_path / "run"))
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("knows_grammar")
@pytest.mark.parametrize("task", list(RUNS))
def test_a_wrong_kernel_is_refused_before_anything_is_written(task: str, tmp_path: Path) -> None:
    make, data = RUNS[task]
    kind = ["network.kind=recurrent"] * (task == "labels")
    with pytest.raises(ConfigError, match="its kernel does not do what its step does: y is off"):
        list(
            rc.train(make("network.cell=mine_own:NoKernel", *kind), data=data, out=tmp_path / "run")
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("knows_grammar")
def test_so_is_a_schedule_where_minutes_choose_the_steps(tmp_path: Path) -> None:
    config = language("train.steps=none", "train.schedule=mine_own:below", "train.minutes=0.01")
    with pytest.raises(ConfigError, match=r"it returned -1.0 at step 0"):
        list(rc.train(config, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


FAILS = [
    ("optimizer=mine_own:Raises", "ZeroDivisionError: division by zero", "        return 1 / 0"),
    ("optimizer=mine_own:Breaks", "3 steps in a row were not finite", None),
    ("optimizer=mine_own:Keeps", "it keeps 'taken' on itself, where no state_dict sees it", None),
    ("optimizer=mine_own:KeepsASet", "its.state.all.names is of type set, which no", None),
    ("optimizer=mine_own:Forgets", "give back what its state_dict said: lately is 0", None),
    ("optimizer=torch.optim:LBFGS", "missing 1 required positional argument: 'closure'", None),
    ("loss=mine_own:vector", "a tensor of torch.float32 [", "def vector(outputs, targets):"),
    ("loss=mine_own:detached", "returns has no gradient", "def detached(outputs, targets):"),
    ("loss=mine_own:huber", "train.loss=mine_own:huber: RuntimeError", None),
    ("regulariser=mine_own:undefined", "it returned nan where the loss", "def undefined(model):"),
    ("regulariser=mine_own:a_float", "it returned a float, but must return a tensor of one",
     "def a_float(model):"),
    ("regulariser=mine_own:breaks", "KeyError: 'weights'", '    raise KeyError("weights")'),
]  # fmt: skip


@pytest.mark.usefixtures("knows_grammar")
@pytest.mark.parametrize(("setting", "message", "at"), FAILS, ids=[s for s, *_ in FAILS])
def test_what_fails_while_it_learns_ends_in_one_line_with_the_place(
    setting: str, message: str, at: str | None, tmp_path: Path
) -> None:
    with pytest.raises(RunError) as caught:
        list(rc.train(language(f"train.{setting}"), out=tmp_path / "run"))
    said = str(caught.value)
    assert message in said and "\n" not in said and setting.partition("=")[2] in said
    if at is not None:
        assert f"(mine_own.py:{line(at)})" in said


def test_a_series_shows_no_hidden_outputs_and_says_so(tmp_path: Path) -> None:
    config = series("train.regulariser=mine_own:quiet")
    with pytest.raises(
        ConfigError, match=r"it takes \(model, hidden\), but SeriesLearner shows no"
    ):
        list(rc.train(config, data=NUMBERS, out=tmp_path / "run"))


def test_an_error_while_it_is_imported_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "mine_broken_own.py").write_text("import torch\n\n1 / 0\n")
    with pytest.raises(ConfigError, match=r"division by zero \(mine_broken_own.py:3\)"):
        list(rc.train(language("train.optimizer=mine_broken_own:Opt"), out=tmp_path / "run"))


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: Any) -> None:
    words = ["train", "words", "--data", "grammar", "--out", str(tmp_path / "run")]
    assert main([*words, "--set", "train.optimizer=mine_own:Nothing"]) == 2
    assert capsys.readouterr().err == (
        "recurra: 'mine_own:Nothing' is not an optimizer: derive it from torch.optim.Optimizer, or "
        "give a function\n"
    )


# Whose names they are


def test_what_a_file_names_is_not_imported(tmp_path: Path) -> None:
    options = TrainOptions(optimizer="mine_own:Signed", schedule="mine_own:falling")
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    with named_by_file("runs/theirs"):
        for use in (lambda: make_optimizer(parameters, options),
                    lambda: learning_rate(options, 0, 3, 0)):  # fmt: skip
            with pytest.raises(
                CheckpointError, match=r"runs/theirs names the .* allow_import="
            ) as e:
                use()
            assert e.value.needs in ("mine_own:Signed", "mine_own:falling")
    assert "mine_own" not in sys.modules
    with named_by_file("runs/theirs", ["mine_own:Signed"]):
        assert type(make_optimizer(parameters, options)).__name__ == "Signed"


@pytest.mark.usefixtures("knows_grammar")
def test_a_finished_run_is_used_without_what_trained_it(tmp_path: Path) -> None:
    config = language("train.optimizer=mine_own:Signed", "train.loss=mine_own:smooth")
    list(rc.train(config, out="run"))
    (tmp_path / "mine_own.py").unlink()
    sys.modules.pop("mine_own")
    assert rc.evaluate("run")["perplexity"] > 1
    assert rc.LanguageModel.from_pretrained("run").suggest("these ", top=1)
    assert "mine_own" not in sys.modules


def test_the_command_asks_for_the_same_again(tmp_path: Path) -> None:
    settings = ["train.optimizer=mine_own:Signed", "train.optimizer_options.noise=0.5",
                "train.optimizer_options.name=5", 'train.optimizer_options.word="5"']  # fmt: skip
    config = with_settings(rc.preset("words", data="grammar"), settings)
    command = Asked(config, tmp_path / "run").command
    assert command is not None
    for each in settings[:3]:
        assert f"--set {each}" in command
    assert """--set 'train.optimizer_options.word="5"'""" in command
