"""The tasks: training against an independent transcription, and text whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.language.entry import LanguageRun, NgramRun
from recurra.language.models.base import LanguageModel
from recurra.language.models.cache import cache
from recurra.language.models.dynamic import DynamicModel
from recurra.language.models.mixture import MixtureModel, fit_weights
from recurra.language.models.network import NetworkModel
from recurra.language.models.ngram import NgramModel
from recurra.language.models.unigram_cache import unigram_cache
from recurra.language.options import MixtureOptions, NetworkOptions, NgramOptions, TextOptions
from recurra.language.task import LanguageTask, NgramTask
from recurra.language.text.corpora.grammar import Grammar
from recurra.language.text.dataset import TextDataset
from recurra.learning.event import Event, Finished, Started, Stepped, Validated
from recurra.learning.options import TrainOptions
from recurra.learning.plan import measure_seconds_per_step
from recurra.nn.kernels.dropout import dropout_mask
from recurra.nn.state import flatten
from recurra.randomness import generator

Ids = NDArray[np.integer]
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("knows_grammar")

GRAMMAR = TextOptions(corpus="grammar", chunk_length=20)
SMALL = NetworkOptions(hidden_size=8, precision="float32")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread: the tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(**changes: Any) -> LanguageRun:
    run = LanguageRun(preset="mine", data=GRAMMAR, network=SMALL, train=TrainOptions())
    for part, settings in changes.items():
        if isinstance(settings, dict):
            settings = getattr(run, part).model_copy(update=settings)
        run = run.model_copy(update={part: settings})
    return run


def fit(task: LanguageTask | NgramTask, folder: Path) -> list[Event]:
    return list(task.fit(folder / "checkpoints", lambda: False))


def steps(events: list[Event]) -> list[Stepped]:
    return [event for event in events if isinstance(event, Stepped)]


# Truncated back-propagation against a transcription of the tutorial's program


class Tutorial(nn.Module):
    """The network of the 2017 program in torch's own modules, float64."""

    def __init__(self, weights: dict[str, Tensor], hidden: int) -> None:
        super().__init__()
        vocabulary = len(weights["embedding"])
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(nn.LSTM(hidden, hidden, batch_first=True) for _ in range(2))
        self.softmax = nn.Linear(hidden, vocabulary)
        self.double()
        self.embedding.weight.data = weights["embedding"].clone()
        self.softmax.weight.data = weights["head.weight"].clone()
        self.softmax.bias.data = weights["head.bias"].clone()
        for n, layer in enumerate(self.layers):
            layer.bias_hh_l0.requires_grad_(False)  # TensorFlow's cell has one bias
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(layer, f"{name}_l0").data = weights[
                    f"recurrence.cells.{n}.cells.0.{name}"
                ].clone()

    def forward(self, x: Tensor, state: list[Any], masks: list[Tensor]) -> tuple[Tensor, list[Any]]:
        y = self.embedding(x) * masks[0]
        after = []
        for layer, before, mask in zip(self.layers, state, masks[1:], strict=True):
            y, (h, c) = layer(y, before)
            y = y * mask
            after.append((h.detach(), c.detach()))
        return self.softmax(y), after


def train_tutorial(
    model: Tutorial, ids: Ids, B: int, T: int, p: float, clip: float, seed: int, count: int
) -> list[float]:
    """Return the losses, summed over the T steps and averaged over the batch; learning rate 1."""
    rows = torch.from_numpy(ids[: B * (len(ids) // B)].astype(np.int64)).view(B, -1)
    per_epoch = (rows.shape[1] - 1) // T
    hidden = model.embedding.embedding_dim
    losses, state = [], [None, None]
    for step in range(count):
        epoch, k = divmod(step, per_epoch)
        if k == 0:
            state = [None, None]
        stream = generator(seed, "dropout", epoch, k)
        masks = [
            dropout_mask((B, T, hidden), p, stream, torch.float64)
            if p
            else torch.ones(B, T, hidden, dtype=torch.float64)
            for _ in range(3)
        ]
        x, y = rows[:, k * T : (k + 1) * T], rows[:, k * T + 1 : (k + 1) * T + 1]
        logits, state = model(x, state, masks)
        loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / B
        model.zero_grad()
        loss.backward()
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        norm = math.sqrt(sum(float(parameter.grad.square().sum()) for parameter in learned))
        with torch.no_grad():
            for parameter in learned:
                parameter -= parameter.grad * clip / max(norm, clip)
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("clip", [5.0, 0.2])  # above, and below, the gradients' norms
def test_training_is_the_tutorials_with_its_summed_loss_made_a_mean(
    tmp_path: Path, dropout: float, clip: float
) -> None:
    B, T, count = 400, 9, 20  # some 16 steps an epoch, so that the state starts anew
    run = config(
        data={"chunk_length": T},
        network={"dropout": dropout, "init_scale": 0.3, "zero_bias": False, "forget_bias": 0.0},
        train={"batch_size": B, "learning_rate": float(T), "clip_norm": clip / T, "steps": count},
        seed=4,
    )
    task = LanguageTask(run, CPU)
    task.learner.model.double()
    plain = Tutorial(task.model.tensors(), hidden=8)
    text = task.dataset.ids("train")
    expected = train_tutorial(plain, text, B, T, dropout, clip, seed=4, count=count)
    found = steps(fit(task, tmp_path))
    assert task.learner.steps_per_epoch < count
    np.testing.assert_allclose([step.loss * T for step in found], expected, rtol=1e-9)
    clipped = [step.gradient_norm > clip / T for step in found]
    assert all(clipped) if clip == 0.2 else not any(clipped)
    twin = Tutorial(task.model.tensors(), hidden=8)
    for ours, theirs in zip(twin.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


# The grammar, whose true perplexity is known


@pytest.fixture(scope="module")
def truth() -> Grammar:
    return Grammar()


def excess(
    model: LanguageModel, task: LanguageTask | NgramTask, truth: Grammar
) -> tuple[float, float]:
    """Return by how many nats a token the model is above the truth, and the standard error."""
    ids = task.dataset.ids("test")
    words, scores = task.dataset.vocabulary.decode(ids), model.log_probs_of(ids)
    eos = task.dataset.vocabulary.eos
    ends = (np.flatnonzero(ids == eos) + 1).tolist()
    differences = []
    for start, end in zip([0, *ends], ends):
        differences.append(truth.log_prob(words[start:end]) - scores[start:end].sum())
    assert ends[-1] == len(ids)
    sums = np.array(differences)  # sentences are independent of each other, tokens are not
    return sums.sum() / len(ids), sums.std() * math.sqrt(len(sums)) / len(ids)


def test_a_small_network_comes_within_15_percent_of_the_true_perplexity(
    tmp_path: Path, truth: Grammar
) -> None:
    run = config(
        network={"hidden_size": 64, "num_layers": 1, "tied": True},
        train={"epochs": 10, "learning_rate": 20.0, "schedule": "linear", "clip_norm": 0.25},
    )
    task = LanguageTask(run, CPU)
    events = fit(task, tmp_path)
    above, error = excess(task.model, task, truth)
    assert above < math.log(1.15)
    assert above > -4 * error
    behind, _ = excess(task._ngrams(5)["kn5"].model, task, truth)
    assert above < behind - 0.2, "what a network can carry over any distance, n-grams cannot see"
    validated = [e.metrics["nats_per_token"] for e in events if isinstance(e, Validated)]
    assert len(validated) == 10
    assert validated[-1] == pytest.approx(truth.true_nats_per_token(), abs=0.15)
    losses = [step.loss for step in steps(events)]
    assert np.mean(losses[-150:]) == pytest.approx(truth.true_nats_per_token(), abs=0.15)


def test_n_grams_come_nearer_the_truth_the_longer_they_are_and_never_below(
    tmp_path: Path, truth: Grammar
) -> None:
    distances = []
    for order in range(1, 6):
        task = NgramTask(NgramRun(preset="n", data=GRAMMAR, ngram=NgramOptions(order=order)), CPU)
        fit(task, tmp_path)
        above, error = excess(task.model, task, truth)
        assert above > -4 * error
        distances.append(above)
    assert distances[2:] == pytest.approx([0.5, 0.5, 0.5], abs=0.1)  # beyond 3, little is in reach
    assert distances[0] > distances[1] > distances[2]


def test_an_untrained_network_is_about_as_good_as_guessing() -> None:
    task = LanguageTask(config(network={"init_scale": 0.01}), CPU)
    ids = task.dataset.ids("test")
    metrics = task.model.evaluate(ids, task.dataset.facts("test"))
    assert metrics.nats_per_token == pytest.approx(math.log(141), abs=0.01)


# What a task hands to the loop


def test_it_trains_on_a_memory_mapped_text_without_copying_it(tmp_path: Path) -> None:
    task = LanguageTask(config(train={"steps": 2}), CPU)
    ids = task.dataset.ids("train")
    assert isinstance(ids, np.memmap)
    assert np.shares_memory(task.learner.batches._streams, ids)
    assert len(steps(fit(task, tmp_path))) == 2
    assert not ids.flags.writeable


def test_the_carry_is_cut_off_from_the_graph_and_comes_back_from_tensors() -> None:
    learner = LanguageTask(config(), CPU).learner
    stream = torch.Generator().manual_seed(1)
    loss, carry, items = learner.loss(learner.batch(0, 0), learner.initial_carry(), stream)
    assert (items, loss.shape) == (20 * 20, ())
    packed = learner.pack(carry)
    assert {name: tuple(tensor.shape) for name, tensor in packed.items()} == {
        f"state.{layer}.{part}": (20, 8) for layer in range(2) for part in "hc"
    }
    assert not any(tensor.requires_grad for tensor in packed.values())
    again = flatten(learner.unpack({name: tensor.clone() for name, tensor in packed.items()}))
    assert all(torch.equal(again[name], tensor) for name, tensor in packed.items())
    assert (flatten(carry)["state.1.h"] != 0).all()


def test_every_epoch_has_the_same_batches() -> None:
    learner = LanguageTask(config(), CPU).learner
    for step in range(3):
        for one, other in zip(learner.batch(0, step), learner.batch(7, step), strict=True):
            assert torch.equal(one, other)


def test_its_fingerprint_changes_with_the_text_and_with_the_vocabulary() -> None:
    base = LanguageTask(config(), CPU).learner.fingerprint
    assert base == LanguageTask(config(seed=9, network={"dropout": 0.5}), CPU).learner.fingerprint
    other = LanguageTask(config(data={"vocabulary_size": 50}), CPU).learner.fingerprint
    assert {part for part in base if base[part] != other[part]} == {"text", "vocabulary"}


def test_validation_is_the_evaluation_of_the_split(tmp_path: Path) -> None:
    task = LanguageTask(config(train={"steps": 3}), CPU)
    (validated,) = [event for event in fit(task, tmp_path) if isinstance(event, Validated)]
    metrics = task.model.evaluate(task.dataset.ids("valid"), task.dataset.facts("valid"))
    assert validated.metrics == {"loss": metrics.nats_per_token, **metrics.as_dict()}
    assert validated.metrics["tokens"] == task.dataset.facts("valid").tokens


@pytest.mark.parametrize(
    ("train", "stop", "again"),
    [
        ({}, 4, 0),
        ({}, 2, 0),
        ({}, 9, 1),  # it goes on from the end, where nothing is validated
        ({"keep": "best"}, 4, 0),
        ({"keep": "best"}, 2, 1),  # the best came before it was stopped
        ({"average": "asgd", "average_patience": 1}, 4, 0),
        ({"average": "ema", "average_start": 0.5}, 4, 0),
    ],
    ids=["last", "resumed", "finished", "best", "best resumed", "asgd", "ema"],
)
def test_what_was_validated_is_not_evaluated_again(
    tmp_path: Path, train: dict[str, Any], stop: int, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"steps": 4, "validations": 4, "batch_size": 200, "learning_rate": 30.0, **train}
    task = LanguageTask(config(train=options), CPU)
    if stop != 4:
        asked = iter(range(1, 10))
        list(task.fit(tmp_path / "checkpoints", lambda: next(asked) == stop))
        task = LanguageTask(config(train=options), CPU)
    found = [event.best for event in fit(task, tmp_path) if isinstance(event, Validated)]
    assert len(found) == {2: 2, 4: 4, 9: 0}[stop] and all(found) == (not found)
    expected = task.model.evaluate(task.dataset.ids("valid"), task.dataset.facts("valid"))
    calls, evaluated = [], NetworkModel.log_probs_of

    def counted(model: NetworkModel, ids: Ids) -> Any:
        calls.append(ids)
        return evaluated(model, ids)

    monkeypatch.setattr(NetworkModel, "log_probs_of", counted)
    assert task.measure("valid") == expected.as_dict()
    assert len(calls) == again


def test_a_stopped_task_is_measured_as_it_is(tmp_path: Path) -> None:
    task = LanguageTask(config(train={"steps": 4, "validations": 4}), CPU)
    for event in task.fit(tmp_path / "checkpoints", lambda: task.learner.model.training):
        assert not isinstance(event, Finished)
    expected = task.model.evaluate(task.dataset.ids("valid"), task.dataset.facts("valid"))
    assert task.measure("valid") == expected.as_dict()


def lines(folder: Path, **splits: str) -> TextOptions:
    folder.mkdir()
    for name, text in splits.items():
        (folder / f"{name}.txt").write_text(text)
    return TextOptions(corpus=str(folder), chunk_length=4)


def test_a_text_without_validation_is_trained_on_all_the_same(tmp_path: Path) -> None:
    data = lines(tmp_path / "text", train="the cat sat on the mat\n" * 30)
    task = LanguageTask(config(data=data, train={"batch_size": 5, "keep": "best"}), CPU)
    events = fit(task, tmp_path)
    assert not any(isinstance(event, Validated) for event in events)
    assert isinstance(events[-1], Finished)
    assert "30" not in task.facts()["tokens"]
    assert task.facts()["tokens"] == "210 train"


def test_a_text_shorter_than_a_batch_is_bad_data(tmp_path: Path) -> None:
    data = lines(tmp_path / "text", train="the cat sat\n")
    with pytest.raises(DataError, match="need 100 tokens, the text has 4"):
        LanguageTask(config(data=data), CPU)


def test_a_text_that_is_learned_by_heart_has_perplexity_one(tmp_path: Path) -> None:
    line = "a b c d e f g h\n"
    data = lines(tmp_path / "text", train=line * 100, valid=line * 3)
    run = config(
        data=data,
        network={"hidden_size": 16, "num_layers": 1},
        train={"batch_size": 5, "epochs": 6, "optimizer": "adam", "learning_rate": 0.02},
    )
    task = LanguageTask(run, CPU)
    validated = [event for event in fit(task, tmp_path) if isinstance(event, Validated)]
    assert validated[-1].metrics["perplexity"] == pytest.approx(1, abs=0.05)
    assert all(event.best for event in validated)
    assert task.model.generate(27, seed=3).count(line) == 3


def test_facts_are_words(tmp_path: Path) -> None:
    facts = LanguageTask(config(), CPU).facts()
    assert facts == {
        "corpus": "grammar",
        "tokens": "60,017 train, 6,000 valid, 6,002 test",
        "vocabulary": "141 by rule split",
        "network": "2 x 8 lstm",
        "start": "weights within 0.1, biases 0, forget bias 1",
        "unknown": "0.0% of the training tokens are outside the vocabulary",
    }


# Budget, memory, other runs' weights


@pytest.mark.parametrize(("minutes", "expected"), [(0.5, 2850), (1e-6, 1)])
def test_minutes_freeze_the_steps_that_fit(
    monkeypatch: pytest.MonkeyPatch, minutes: float, expected: int
) -> None:
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step", lambda learner, options: 0.01
    )
    run = config(train={"minutes": minutes})
    task = LanguageTask(run, CPU)
    assert task.config.train.steps == expected  # 95% of the time, a hundredth of a second each
    train = run.train.model_copy(update={"steps": expected, "left_out": {}})
    assert task.config == run.model_copy(update={"train": train, "threads": 1})
    again = LanguageTask(task.config, CPU)  # frozen: what is measured then does not matter
    monkeypatch.setattr("recurra.learning.plan.measure_seconds_per_step", None)
    assert LanguageTask(task.config, CPU).config == again.config == task.config


def test_measuring_does_not_change_what_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = measure_seconds_per_step
    monkeypatch.setattr(
        "recurra.learning.plan.measure_seconds_per_step",
        lambda *given: 1e9 * original(*given, warmup=1, least_seconds=0.01) + 1e9,
    )
    measured = LanguageTask(config(train={"minutes": 1.0}, network={"dropout": 0.3}), CPU)
    assert measured.config.train.steps == 1
    plain = LanguageTask(config(train={"steps": 1}, network={"dropout": 0.3}), CPU)
    assert steps(fit(measured, tmp_path / "a"))[0].loss == steps(fit(plain, tmp_path / "b"))[0].loss
    for name, tensor in plain.model.tensors().items():
        assert torch.equal(measured.model.tensors()[name], tensor)


def test_a_network_too_large_for_the_memory_is_refused_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = config(network={"hidden_size": 20_000, "num_layers": 4})
    monkeypatch.setattr("recurra.learning.weights.available_memory", lambda: 10**9)
    with pytest.raises(ConfigError) as caught:
        LanguageTask(run, CPU)
    parameters = 2 * 141 * 20_000 + 141 + 4 * (8 * 20_000**2 + 8 * 20_000)
    assert str(caught.value) == (
        "network.hidden_size=20000, network.num_layers=4 and 141 words make "
        f"{parameters:,} parameters: with their gradients {8 * parameters / 1e9:,.1f} GB, more "
        "than the 1.0 GB that are free"
    )
    monkeypatch.setattr("recurra.learning.weights.available_memory", lambda: None)
    LanguageTask(config(), CPU)


def saved_run(folder: Path, task: LanguageTask | NgramTask) -> str:
    task.model.save_pretrained(folder / "model")
    return str(folder)


def test_a_run_that_took_its_rule_from_another_is_evaluated_by_it(tmp_path: Path) -> None:
    text = "a cat sat on a mat\n" * 40
    data = lines(tmp_path / "text", train=text, test=text)
    spelled = data.model_copy(update={"rule": "characters"})
    first = LanguageTask(config(data=spelled, train={"steps": 2, "batch_size": 5}), CPU)
    fit(first, tmp_path / "a")
    start = saved_run(tmp_path / "first", first)
    second = LanguageTask(
        config(data=data, start_from=start, train={"steps": 2, "batch_size": 5}), CPU
    )
    fit(second, tmp_path / "b")
    run = Path(saved_run(tmp_path / "second", second))
    again = LanguageTask.evaluate(run, second.config, None, "test", "document")
    assert again == pytest.approx(second.measure("test"), rel=1e-6)
    assert again["oov"] == 0


def test_it_begins_with_another_runs_weights_and_vocabulary(tmp_path: Path) -> None:
    first = LanguageTask(config(train={"steps": 3}, data={"vocabulary_size": 60}), CPU)
    fit(first, tmp_path)
    start = saved_run(tmp_path / "first", first)
    data = lines(tmp_path / "text", train="this cat speaks of new things\n" * 50)
    run = config(data=data, seed=99, start_from=start, train={"batch_size": 5})
    second = LanguageTask(run, CPU)
    assert second.dataset.vocabulary == first.dataset.vocabulary
    assert second.dataset.rule == first.dataset.rule == "split"
    assert second.dataset.facts("train").oov > 0
    for name, tensor in first.model.tensors().items():
        assert torch.equal(second.model.tensors()[name], tensor)
    fit(second, tmp_path / "second")
    assert not torch.equal(second.model.tensors()["embedding"], first.model.tensors()["embedding"])
    assert torch.equal(
        LanguageModel.from_pretrained(start).tensors()["embedding"],
        first.model.tensors()["embedding"],
    )


def test_weights_that_do_not_fit_or_are_not_there_are_refused(tmp_path: Path) -> None:
    start = saved_run(tmp_path / "first", LanguageTask(config(), CPU))
    with pytest.raises(CheckpointError, match=r"embedding is \(141, 8\), expected \(141, 9\)"):
        LanguageTask(config(start_from=start, network={"hidden_size": 9}), CPU)
    with pytest.raises(CheckpointError, match=r"missing recurrence\.cells\.2"):
        LanguageTask(config(start_from=start, network={"num_layers": 3}), CPU)
    with pytest.raises(ConfigError, match=r"data\.rule is characters, but .* learned by split"):
        LanguageTask(config(start_from=start, data={"rule": "characters"}), CPU)
    with pytest.raises(CheckpointError, match="holds no model"):
        LanguageTask(config(start_from=str(tmp_path / "nowhere")), CPU)


def test_n_grams_and_networks_do_not_begin_with_each_other(tmp_path: Path) -> None:
    ngrams = NgramTask(NgramRun(preset="n", data=GRAMMAR), CPU)
    fit(ngrams, tmp_path)
    start = saved_run(tmp_path / "ngrams", ngrams)
    with pytest.raises(ConfigError, match="that run has no network whose weights could be taken"):
        LanguageTask(config(start_from=start), CPU)
    with pytest.raises(ConfigError, match="n-grams are counted anew"):
        NgramTask(NgramRun(preset="n", data=GRAMMAR, start_from=start), CPU)


def test_the_seed_chooses_the_weights_it_begins_with() -> None:
    one, same, other = (LanguageTask(config(seed=seed), CPU).model.tensors() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["embedding"], other["embedding"])


# N-grams


def test_n_grams_are_counted_in_one_step(tmp_path: Path) -> None:
    task = NgramTask(NgramRun(preset="n", data=GRAMMAR, ngram=NgramOptions(order=3)), CPU)
    started, validated, finished = fit(task, tmp_path)
    assert started == Started(0, 1, 1, 0, "cpu")
    assert isinstance(validated, Validated)
    expected = task.model.evaluate(task.dataset.ids("valid"), task.dataset.facts("valid"))
    assert validated.metrics == expected.as_dict()
    assert (validated.step, validated.epoch, validated.best) == (1, 1.0, True)
    assert isinstance(finished, Finished)
    assert (finished.step, finished.epoch, finished.items) == (1, 1.0, 60_017)
    assert 0 < finished.seconds < 20
    assert task.model.counts.order == 3
    assert task.baselines() == {}
    assert task.facts()["counted"] == "n-grams of up to 3 words"
    assert not (tmp_path / "checkpoints").exists()


def test_the_baseline_is_counted_in_the_same_ids(tmp_path: Path) -> None:
    data = GRAMMAR.model_copy(update={"vocabulary_size": 40})
    task = LanguageTask(config(data={"vocabulary_size": 40}), CPU)
    assert isinstance(task.model, NetworkModel)
    counted = NgramTask(NgramRun(preset="n", data=data, ngram=NgramOptions(order=5)), CPU)
    fit(counted, tmp_path)
    cached = unigram_cache(counted.model)
    rows = {
        split: cached.evaluate(task.dataset.ids(split), task.dataset.facts(split)).as_dict()
        for split in ("valid", "test")
    }
    assert task.baselines() == {
        "kn5": {"valid": counted.measure("valid"), "test": counted.measure("test")},
        "kn5_cache": rows,
    }
    assert task.companions() == {}


# What a session asks of a task


@pytest.mark.parametrize("kind", ["network", "ngram"])
def test_a_task_measures_what_its_saved_model_measures(tmp_path: Path, kind: str) -> None:
    task: LanguageTask | NgramTask
    if kind == "network":
        task = LanguageTask(config(train={"steps": 2}), CPU)
    else:
        task = NgramTask(NgramRun(preset="n", data=GRAMMAR, ngram=NgramOptions(order=2)), CPU)
    fit(task, tmp_path)
    run = Path(saved_run(tmp_path / "run", task))
    assert (task.metric, task.unit) == ("perplexity", "tokens")
    for split in ("valid", "test"):
        measured = task.measure(split)
        assert measured is not None and measured["perplexity"] is not None
        again = type(task).evaluate(run, task.config, None, split, "document")
        assert again == pytest.approx(measured, rel=1e-6)
    assert task.measure("dev") is None
    assert list(task.pictures()) == []
    (sample,) = task.extras().values()
    assert sample == task.model.generate(60, seed=1)


def test_a_model_without_its_run_is_evaluated_on_a_text(tmp_path: Path) -> None:
    task = NgramTask(NgramRun(preset="n", data=GRAMMAR, ngram=NgramOptions(order=2)), CPU)
    fit(task, tmp_path)
    run = Path(saved_run(tmp_path / "run", task))
    (tmp_path / "mine.txt").write_text("this cat sleeps\nthese zebras sleep\n")
    text = str(tmp_path / "mine.txt")
    found = NgramTask.evaluate(run, None, text, "test", "document")
    assert (found["tokens"], found["oov"]) == (8, 1)
    named = NgramTask.evaluate(run, None, "grammar", "test", "document")
    assert named == pytest.approx(task.measure("test"))


# What the network is mixed with


EVERYTHING = MixtureOptions(
    cache=True, dynamic=True, order=3, unigram_cache=True, buckets="previous"
)
TINY = {"network": {"hidden_size": 6, "num_layers": 1}, "train": {"steps": 40, "batch_size": 30}}


def short(folder: Path) -> TextOptions:
    """Return the beginnings of the grammar's splits, as dynamic evaluation is slow."""
    dataset = TextDataset.open(GRAMMAR)
    for split, count in {"train": 2000, "valid": 300, "test": 250}.items():
        words = " ".join(dataset.vocabulary.decode(dataset.ids(split)[:count]))
        (folder / f"{split}.txt").write_text(words.replace(" <eos> ", "\n") + "\n")
    return TextOptions(corpus=str(folder), rule="split", chunk_length=5)


@pytest.fixture(scope="module")
def mixing(tmp_path_factory: pytest.TempPathFactory) -> LanguageTask:
    """A task that mixes everything, fitted."""
    folder = tmp_path_factory.mktemp("mixing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECURRA_CACHE", str(folder / "cache"))
        (folder / "text").mkdir()
        task = LanguageTask(config(**TINY, data=short(folder / "text"), mix=EVERYTHING), CPU)
        fit(task, folder)
    return task


def test_a_mixture_has_the_parts_that_are_asked_for(mixing: LanguageTask) -> None:
    mixed = mixing.companions()["mixture"]
    assert isinstance(mixed, MixtureModel)
    assert list(mixing.extras()["mixture"]["parts"]) == [
        "network",
        "network_cache",
        "network_dynamic",
        "network_dynamic_cache",
        "kn3",
        "kn3_cache",
    ]
    network, cached, adapting, both, counted, beside = mixed.inner
    assert network is mixing.model
    assert [m.kind for m in mixed.inner[1:4]] == ["cache", "dynamic", "cache"]
    assert cached.inner == adapting.inner == (network,)
    assert both.inner == (adapting,)
    assert isinstance(counted, NgramModel)
    assert counted.counts.order == 3
    assert (beside.kind, beside.inner) == ("unigram_cache", (counted,))
    assert [m.options.weight for m in (cached, both, beside)] == [1, 1, 1]  # learned by the mixture


def test_a_cache_is_told_of_with_the_model_it_is_over(mixing: LanguageTask) -> None:
    """By the weight and the setting that are the best of validation."""
    ids, test = mixing.dataset.ids("valid"), mixing.dataset.ids("test")
    parts = mixing.extras()["mixture"]["parts"]
    theta, window = (mixing.companions()["mixture"].inner[1].options.theta,
                     mixing.companions()["mixture"].inner[1].options.window)  # fmt: skip
    best = parts["network_cache"]["valid_perplexity"]
    for weight in (0.0, 0.05, 0.1, 0.2, 0.4, 0.7):
        other = cache(mixing.model, weight=weight, theta=theta, window=window)
        assert best < math.exp(-other.log_probs_of(ids).mean()) * 1.0001
    counted = unigram_cache(mixing.companions()["mixture"].inner[4])
    expected = math.exp(-counted.log_probs_of(test).mean())
    assert parts["kn3_cache"]["test_perplexity"] == pytest.approx(expected, rel=1e-9)


def test_the_report_of_a_mixture_is_what_each_model_measures(mixing: LanguageTask) -> None:
    report, mixed = mixing.extras()["mixture"], mixing.companions()["mixture"]
    for split in ("valid", "test"):
        ids, facts = mixing.dataset.ids(split), mixing.dataset.facts(split)
        assert report[split] == pytest.approx(mixed.evaluate(ids, facts).as_dict(), rel=1e-6)
        for part, entry in zip(mixed.inner, report["parts"].values(), strict=True):
            if "cache" not in part.kind:
                expected = part.evaluate(ids, facts).perplexity
                assert entry[f"{split}_perplexity"] == pytest.approx(expected, rel=1e-5)
    entries = report["parts"].values()
    assert sum(entry["weight"] for entry in entries) == pytest.approx(1)
    assert all(set(entry) == ENTRY for entry in entries)
    best = min(entry["valid_perplexity"] for entry in entries)
    assert report["valid"]["perplexity"] < best * 1.0001


ENTRY = {"weight", "valid_perplexity", "test_perplexity", "without"}


def test_what_a_part_adds_is_the_mixture_of_the_others(mixing: LanguageTask) -> None:
    mixed, report = mixing.companions()["mixture"], mixing.extras()["mixture"]
    assert isinstance(mixed, MixtureModel)
    valid, test = mixing.dataset.ids("valid"), mixing.dataset.ids("test")
    others = [part for part in mixed.inner if part.kind != "ngram"]
    buckets, count = mixed.buckets_of(valid), len(mixed.weights)
    weights = fit_weights([part.log_probs_of(valid) for part in others], buckets, count)
    rest = MixtureModel(others, weights, mixed.buckets)
    expected = math.exp(-rest.log_probs_of(test).mean())
    assert report["parts"]["kn3"]["without"] == pytest.approx(expected, rel=1e-5)


def test_nothing_is_scored_twice(mixing: LanguageTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation and test of each model of the mixture, by the longest road only."""
    read: list[tuple[str, int]] = []
    for kind in (NetworkModel, DynamicModel):
        original = kind.spans

        def spans(self: Any, ids: Ids, original: Any = original) -> Any:
            read.append((self.kind, len(ids)))
            return original(self, ids)

        monkeypatch.setattr(kind, "spans", spans)
    task = LanguageTask(mixing.config, CPU)
    task.learner.network.load_state_dict(mixing.learner.network.state_dict())
    task.scores = type(task.scores)(task.dataset)
    assert task.extras()["mixture"] == mixing.extras()["mixture"]
    adapted = [size for kind, size in read if kind == "dynamic"]
    lengths = [len(task.dataset.ids(split)) for split in ("valid", "test")]
    assert adapted == lengths
    read.clear()
    task.companions()
    assert task.baselines().keys() == {"kn5", "kn5_cache"}
    assert task.measure("test") == mixing.measure("test")
    assert read == []


def test_a_mixture_needs_a_text_to_learn_its_weights_on(tmp_path: Path) -> None:
    data = lines(tmp_path / "text", train="the cat sat on the mat\n" * 30)
    with pytest.raises(ConfigError, match="weights are learned on validation"):
        LanguageTask(config(data=data, mix=MixtureOptions(order=2)), CPU)


def test_without_a_test_split_validation_says_what_a_part_adds(tmp_path: Path) -> None:
    line = "the cat sat on the mat\na dog barked\n"
    data = lines(tmp_path / "text", train=line * 30, valid=line * 4)
    task = LanguageTask(
        config(data=data, mix=MixtureOptions(unigram_cache=True), train={"batch_size": 5}), CPU
    )
    fit(task, tmp_path)
    report = task.extras()["mixture"]
    assert report["test"] is None
    assert list(report["parts"]) == ["network", "network_unigram_cache"]
    for name, other in (("network", "network_unigram_cache"), ("network_unigram_cache", "network")):
        entry = report["parts"][name]
        assert entry["test_perplexity"] is None
        if other == "network":
            alone = report["parts"][other]["valid_perplexity"]
            assert entry["without"] == pytest.approx(alone, rel=1e-9)
        else:  # a cache for itself finds a new word impossible
            assert entry["without"] is None


def test_no_mixture_is_asked_for_by_default() -> None:
    assert not MixtureOptions().wanted
    for name in ("cache", "dynamic", "unigram_cache"):
        assert MixtureOptions(**{name: True}).wanted
    assert MixtureOptions(order=1).wanted
    assert not MixtureOptions(buckets="previous").wanted
