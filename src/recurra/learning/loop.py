"""The one gradient loop; it knows no task.

A task hands it a Learner: numbered batches, a loss with a carried state, and a validation. The
loop owns the optimizer, the schedule, what is saved and what is resumed, and yields events.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recurra.errors import CheckpointError, ConfigError, ResourceError, RunError, ShapeError
from recurra.learning.averaging import WeightAverage
from recurra.learning.checkpoint import (
    Checkpoint,
    Checkpoints,
    blown_up,
    pack_optimizer,
    unpack_optimizer,
)
from recurra.learning.epochs import Epochs, require_schedule
from recurra.learning.event import (
    Averaged,
    Event,
    Finished,
    Saved,
    Saving,
    Started,
    Stepped,
    Stopped,
    Validated,
    Warned,
)
from recurra.learning.optimization import learning_rate, make_optimizer, require_own, take_step
from recurra.learning.options import TrainOptions, is_own
from recurra.learning.own.terms import Terms
from recurra.learning.resumed import Kept, most_held, require_same, require_state
from recurra.learning.weights import load_weights, require_fit
from recurra.randomness import generator
from recurra.work import working

__all__ = ["Learner", "Training", "learn"]

PATIENCE_FOR_NANS = 3
"""Steps in a row whose loss or gradient is not finite before the run ends."""


class Learner(Protocol):
    """What a task hands to the loop; where its epochs differ, it is `Uneven` too.

    One that derives from this carries no state from batch to batch, unless it says so.
    """

    model: nn.Module
    steps_per_epoch: int
    fingerprint: Mapping[str, str] = {}
    """What the data are, by parts; a checkpoint of other data is refused."""

    def batch(self, epoch: int, step: int) -> Any:
        """Return batch `step` of `epoch`: a pure function of both."""
        ...

    def initial_carry(self) -> Any:
        """Return the state that is carried into the first batch of an epoch."""
        return None

    def loss(self, batch: Any, carry: Any, generator: torch.Generator) -> tuple[Tensor, Any, int]:
        """Return the mean loss in nats per target, the detached carry, and how many targets.

        Args:
            batch: as `batch` returned it.
            carry: as `initial_carry` or the loss before returned it.
            generator: where noise and dropout masks come from.
        """
        ...

    def validate(self) -> Mapping[str, float | int | None] | None:
        """Return the validation metrics, `"loss"` among them; None where there is no split."""
        return None

    def pack(self, carry: Any) -> dict[str, Tensor]:
        """Return the carry as named tensors."""
        return {}

    def unpack(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return the carry that `pack` named."""
        return None


def learn(
    learner: Learner,
    options: TrainOptions,
    seed: int,
    checkpoints: Checkpoints | None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Train to the end, or until `should_stop`; goes on from the newest checkpoint, to the bit.

    Afterwards `learner.model` holds the weights that `options.keep` names, all of them finite.
    KeyboardInterrupt saves what the last whole step left.

    Args:
        learner: the task.
        options: how long and by which rule.
        seed: of every random stream.
        checkpoints: where to save and resume from; None keeps nothing.
        should_stop: asked after every step.

    Raises:
        RunError: three steps in a row, or the weights in the end, were not finite.
        CheckpointError: the newest checkpoint does not fit the network.
        ConfigError: it was made on other data.
        ResourceError: the last checkpoint could not be written.
    """
    training = Training(learner, options, seed)
    if checkpoints:
        for note in training.resume(checkpoints):
            yield Warned(note)
    started = training.step
    yield Started(
        step=started,
        steps=training.steps,
        steps_per_epoch=learner.steps_per_epoch,
        parameters=sum(parameter.numel() for parameter in training.parameters),
        device=str(training.device),
        unjudged=training.unjudged,
    )
    while not training.done():
        try:
            if not training.unjudged:
                event = training.advance()
                if checkpoints and isinstance(event, Stepped):
                    training.kept.require(learner, training.carry)
                yield event
            if training.unjudged:
                yield from training.validate()
        except KeyboardInterrupt:
            if checkpoints and training.whole and (training.step > started or not started):
                yield from training.save(checkpoints, last=True)
            raise
        stop = should_stop()
        if checkpoints and (stop or training.done() or training.save_due()):
            yield from training.save(checkpoints, last=stop or training.done())
        if stop and not training.done():
            yield Stopped(training.step)
            return
    training.finish()
    yield Finished(training.step, training.epoch, training.seconds, training.items)


class Training:
    """The position and everything that moves with it; what a checkpoint holds.

    Args:
        learner: the task.
        options: how long and by which rule.
        seed: of every random stream.
    """

    def __init__(self, learner: Learner, options: TrainOptions, seed: int) -> None:
        self.learner = learner
        self.options = options
        self.seed = seed
        learning = {n: p for n, p in learner.model.named_parameters() if p.requires_grad}
        if not learning:
            raise ConfigError("the learner's model has no parameter that learns")
        require_own(options)
        named, self.parameters = list(learning.items()), list(learning.values())
        self.device = self.parameters[0].device
        self.optimizer = make_optimizer(named, options)
        self.kept = Kept(self.optimizer, named, options)
        self.terms = Terms(learner, options, seed)
        self.average = WeightAverage(learning, options)
        self.epochs = Epochs(learner)
        self.steps = options.steps or self.epochs.steps(options.epochs)
        require_schedule(options, self.epochs, self.steps)
        self.average_from = options.average_start * self.steps
        self.step = 0
        self.carry = learner.initial_carry()
        self.seconds = 0.0
        self.items = 0
        self.not_finite = 0
        self.best_loss = math.inf
        self.best: dict[str, Tensor] = {}
        self.stale = 0
        self.unjudged = False  # whether the validation of this step is still to come
        self.whole = True  # whether all that is saved is of one step, no update half done
        self.saved_at = time.monotonic()

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.epochs.passes(self.step)

    def done(self) -> bool:
        """Whether no step is left, or patience has run out."""
        patience = self.options.patience
        over = self.step >= self.steps or (patience is not None and self.stale >= patience)
        return over and not self.unjudged

    def advance(self) -> Event:
        """Take one step; one whose loss or gradient is not finite changes no weight."""
        begun = time.perf_counter()
        epoch, position = self.epochs.place(self.step)
        if position == 0:
            self.carry = self.learner.initial_carry()
        rate = learning_rate(self.options, self.step, self.steps, epoch)
        rate *= self.epochs.rate_factor(epoch, position)
        masks = generator(self.seed, "dropout", epoch, position, self.device)
        batch = self.learner.batch(epoch, position)
        loss, carry, items = self.terms.loss(batch, self.carry, masks, self.step)
        self.terms.differentiate(loss)
        value = float(loss.detach())
        norm = math.nan
        self.whole = False
        if math.isfinite(value):
            norm = take_step(self.optimizer, self.options, rate, (self.seed, self.step))
        if finite := math.isfinite(norm):
            self.carry = carry
            self._add_to_average()
        self.optimizer.zero_grad()
        self.step += 1
        self.seconds += time.perf_counter() - begun
        self.items += items if finite else 0
        self.not_finite = 0 if finite else self.not_finite + 1
        self.unjudged = self._validation_due()
        self.whole = True
        if not finite:
            return self._skipped(value, norm, rate)
        return Stepped(self.step, self.epoch, value, items, rate, norm, self.seconds)

    def _add_to_average(self) -> None:
        average = self.average
        if average.begun:
            average.add()
        elif average.options.average == "ema" and self.step + 1 >= self.average_from:
            average.begin()

    def _skipped(self, loss: float, norm: float, rate: float) -> Warned:
        what = f"step {self.step}: loss {loss:g}, gradient norm {norm:g}, learning rate {rate:g}"
        if self.not_finite >= PATIENCE_FOR_NANS:
            own = f", or mend {name}" if is_own(name := self.options.optimizer) else ""
            raise RunError(
                f"{PATIENCE_FOR_NANS} steps in a row were not finite ({what}); the checkpoints "
                f"before them are untouched. Lower train.learning_rate or train.clip_norm{own}"
            )
        return Warned(f"{what}: update skipped")

    def _validation_due(self) -> bool:
        """Whether this step ends a stretch between validations, or is the last."""
        if self.step >= self.steps:
            return True
        between = self.options.validate_epochs
        if self.options.validations:
            every = -(-self.steps // self.options.validations)
        elif not between % 1:
            epoch, position = self.epochs.place(self.step)
            return not position and not epoch % int(between)
        else:
            every = max(1, round(between * self.learner.steps_per_epoch))
        return self.step % every == 0

    def validate(self) -> Iterator[Event]:
        """Evaluate the validation split, and remember the weights if they are the best yet."""
        begun = time.perf_counter()
        model = self.learner.model
        self.whole = False
        with self.average.applied():
            model.eval()
            self.whole = True  # given up here, it is as before
            with working("validating"):
                metrics = self.learner.validate()
                self.whole = self.unjudged = False
            model.train()
            if metrics is None:
                self.whole = True
                return
            loss = math.inf if metrics["loss"] is None else metrics["loss"]
            best = math.isfinite(loss) and loss < self.best_loss
            if best and self.options.keep == "best":
                self.best = {k: v.clone() for k, v in model.state_dict().items()}
        self.best_loss = loss if best else self.best_loss
        self.stale = 0 if best else self.stale + 1
        yield Validated(self.step, self.epoch, metrics, best, time.perf_counter() - begun)
        averaged = self.average.judge(loss)
        self.whole = True
        if averaged:
            yield Averaged(self.step, self.epoch)

    def save_due(self) -> bool:
        """Whether it is time for a checkpoint; never while the numbers are not finite."""
        waited = time.monotonic() - self.saved_at
        return waited >= self.options.save_seconds and not self.not_finite

    def save(self, checkpoints: Checkpoints, last: bool) -> Iterator[Event]:
        """Write a checkpoint; where that fails go on and try again, unless it is the last.

        Args:
            checkpoints: where to.
            last: whether no other one comes.
        """
        self.saved_at = time.monotonic()
        checkpoint = self._checkpoint()
        if (where := blown_up(checkpoint)) is not None:  # the good ones before stay
            yield Warned(f"checkpoint of step {self.step} not written: {where}")
            return
        yield Saving(self.step)
        try:
            path = checkpoints.save(checkpoint)
        except OSError as error:
            if last:
                raise ResourceError(
                    f"the checkpoint of step {self.step} cannot be written: {error}. Older "
                    "checkpoints are intact; free some space and run the same command again"
                ) from error
            yield Warned(f"checkpoint of step {self.step} not written: {error}; will try again")
            return
        yield Saved(self.step, path)

    def _checkpoint(self) -> Checkpoint:
        optimizer, optimizer_facts = pack_optimizer(self.optimizer)
        tensors = {
            "weights": dict(self.learner.model.state_dict()),
            "optimizer": optimizer,
            "carry": self.learner.pack(self.carry),
        }
        if self.best:
            tensors["best"] = self.best
        facts: dict[str, Any] = {
            "seed": self.seed,
            "fingerprint": dict(self.learner.fingerprint),
            "device": self.device.type,
            "seconds": self.seconds,
            "items": self.items,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "stale": self.stale,
            "not_finite": self.not_finite,
            "optimizer": optimizer_facts,
        }
        if self.unjudged:
            facts["unjudged"] = True
        if self.options.average != "none":
            tensors["average"], facts["average"] = self.average.pack()
        return Checkpoint(self.step, tensors, facts)

    def resume(self, checkpoints: Checkpoints) -> list[str]:
        """Go on from the newest checkpoint that is good, if there is one; returns notes.

        Args:
            checkpoints: where from.
        """
        checkpoint, notes = checkpoints.newest(most_held(self.learner, self.carry))
        if checkpoint is None:
            return notes
        require_state(checkpoint, self.steps if self.epochs.uneven else None)
        tensors, facts = checkpoint.tensors, checkpoint.facts
        require_same(facts["fingerprint"], self.learner.fingerprint)
        if facts["device"] != self.device.type:
            notes.append(
                f"the checkpoint was made on {facts['device']}, this is {self.device.type}: "
                "training goes on, but the same bits come out on the same device only"
            )
        load_weights(self.learner.model, tensors["weights"])
        unpack_optimizer(self.optimizer, tensors["optimizer"], facts["optimizer"])
        try:
            self.carry = self.learner.unpack(tensors["carry"])
        except ShapeError as error:
            raise CheckpointError(f"the state that is carried does not fit: {error}") from error
        self.best = dict(tensors.get("best", {}))
        if self.best:
            require_fit(self.learner.model, self.best)
        if "average" in facts:
            self.average.unpack(tensors.get("average", {}), facts["average"])
        self.step = checkpoint.step
        self.seconds, self.items = facts["seconds"], facts["items"]
        self.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        self.stale, self.not_finite = facts["stale"], facts["not_finite"]
        self.unjudged = facts.get("unjudged", False)
        return notes

    def finish(self) -> None:
        """Leave the kept weights in the model, ready for use; raise where they are not finite."""
        if self.best:
            load_weights(self.learner.model, self.best)
        else:
            self.average.settle()
        weights = dict(self.learner.model.state_dict())
        if (where := blown_up(Checkpoint(self.step, {"weights": weights}, {}))) is not None:
            raise RunError(
                f"the training ends with weights that are not finite ({where}). Lower "
                "train.learning_rate or train.clip_norm"
            )
        self.learner.model.eval()
