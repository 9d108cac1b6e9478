"""A training of one's own, cut and resumed; `train --set train.optimizer=own_training:Lion` too."""

import tempfile

import torch

import recurra as rc


class Lion(torch.optim.Optimizer):  # Chen et al. 2023
    def __init__(self, params, lr=1e-3, slow=0.99):
        super().__init__(params, {"lr": lr, "slow": slow})

    def step(self):
        for group in self.param_groups:
            for weight in (p for p in group["params"] if p.grad is not None):
                mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                weight.data -= group["lr"] * torch.lerp(mean, weight.grad, 0.1).sign()
                mean.lerp_(weight.grad, 1 - group["slow"])


def halving(step, steps, epoch):
    return 0.5 ** (4 * step // steps)


def small(model, weight=1e-5):
    return weight * sum(p.square().sum() for p in model.parameters())


class Echo(rc.Learner):  # says what it heard three steps ago
    def __init__(self):
        parts = [rc.GRUCell(1, 16), torch.nn.Linear(16, 1)]
        self.model, self.steps_per_epoch = torch.nn.ModuleList(parts), 50

    def batch(self, epoch, step):  # a function of its place alone: there is nothing to save
        stream = torch.Generator().manual_seed(50 * epoch + step)
        return torch.randint(0, 2, (32, 12, 1), generator=stream).float()

    def loss(self, batch, carry, generator):
        said, heard = self.model[1](rc.unroll(self.model[0], batch)[0][:, 3:]), batch[:, :-3]
        return (said - heard).square().mean(), None, said.numel()


def main(out, stop=200):
    torch.manual_seed(1)
    rules = {"optimizer": "Lion", "schedule": "halving", "regulariser": "small"}
    own = {setting: f"{__name__}:{name}" for setting, name in rules.items()}
    options, losses = rc.TrainOptions(steps=200, learning_rate=0.01, **own), []
    kept = rc.Checkpoints(f"{out}/checkpoints")
    events = rc.learn(Echo(), options, 1, kept, lambda: len(losses) >= stop)
    for event in rc.recorded(events, out):  # metrics.jsonl, curves.png, report.json
        losses += [event.loss] if isinstance(event, rc.Stepped) else []
    return losses


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder, stop=70)
        print(f"the loss is {main(folder)[-1]:.4f}")  # it went on from there
