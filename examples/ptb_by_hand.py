"""Truncated back-propagation by hand; `ptb_by_hand.py ptb` reads Penn Treebank, else a grammar."""

import sys

import torch
from torch import nn

import recurra as rc

UNITS, DROPPED, RATE, CLIP, ROWS, STEPS = 200, 0.5, 1.0, 5.0, 20, 35


class Model(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embedding, self.softmax = nn.Embedding(words, UNITS), nn.Linear(UNITS, words)
        cells = [rc.LSTMCell(UNITS, UNITS) for _ in range(2)]  # two, not one cell twice
        inside = [rc.Dropout(cell, input=DROPPED) for cell in cells]  # what enters, not the state
        self.layers = rc.Dropout(rc.Stack(inside), output=DROPPED)
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.05, 0.05)
        for cell in cells:
            nn.init.zeros_(cell.bias_ih)
            cell.hold_bias_hh()  # torch adds two biases, TensorFlow has one
            cell.add_forget_bias(1.0)


def read(model, batches, optimizer=None):
    """Read a text once, learn from it where there is an optimizer, and return the perplexity."""
    drawn, state, nats, seen = torch.default_generator, None, 0.0, 0
    model.train(optimizer is not None)
    with torch.set_grad_enabled(model.training):
        for x, targets in batches:
            y, state = rc.unroll(model.layers, model.embedding(x), state, generator=drawn)
            state = rc.detach(state)  # what was read still acts; no gradient goes back to it
            logits = model.softmax(y).flatten(0, 1)
            loss = nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum") / len(x)
            if optimizer is not None:
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
            nats, seen = nats + loss.item() * len(x), seen + targets.numel()
    return torch.tensor(nats / seen).exp().item()


def main(corpus="grammar", epochs=2):
    torch.manual_seed(1)
    data = rc.TextDataset.open(corpus)
    model = Model(len(data.vocabulary))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    batches = rc.StreamBatches(data.ids("train"), ROWS, STEPS)
    for epoch in range(epochs):
        print(f"epoch {epoch + 1}: perplexity {read(model, batches, optimizer):.2f}")
    return read(model, rc.StreamBatches(data.ids("test"), 1, STEPS))


if __name__ == "__main__":
    print(f"test perplexity {main(*sys.argv[1:2]):.2f}")
