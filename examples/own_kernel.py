"""A kernel for a cell of one's own, a GRU without a reset whose units see themselves alone."""

import timeit

import torch

import recurra as rc
from recurra.nn.kernels.pointwise import sigmoid, tanh
from recurra.nn.unroll import unroll_plain


@rc.compiled
def forward(s, w, h):  # s (2, C) of the input, w (2, C); h (C,) becomes the next
    for c in range(len(h)):
        z, n = sigmoid(s[0, c] + w[0, c] * h[c]), tanh(s[1, c] + w[1, c] * h[c])
        h[c] = n + z * (h[c] - n)


@rc.compiled
def backward(s, w, h, d_h, d_s, d_w):  # d_h (C,), of the next, becomes that of h
    one = h.dtype.type(1)  # a bare 1 would make float64 of all
    for c in range(len(h)):
        z, n = sigmoid(s[0, c] + w[0, c] * h[c]), tanh(s[1, c] + w[1, c] * h[c])
        d_s[0, c] = d_h[c] * (h[c] - n) * z * (one - z)
        d_s[1, c] = d_h[c] * (one - z) * (one - n * n)
        d_w[0, c], d_w[1, c] = d_w[0, c] + d_s[0, c] * h[c], d_w[1, c] + d_s[1, c] * h[c]
        d_h[c] = d_h[c] * z + d_s[0, c] * w[0, c] + d_s[1, c] * w[1, c]


def step(s, w, h):  # the same in torch: s (B, 2, C), h (B, C)
    z, n = torch.sigmoid(s[:, 0] + w[0] * h), torch.tanh(s[:, 1] + w[1] * h)
    return n + z * (h - n)


class DiagonalGRUCell(rc.Cell):
    state_type = rc.IndRNNState  # h alone
    loop = rc.channel_kernel("diagonal_gru", forward, backward, step)

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.read = torch.nn.Linear(input_size, 2 * hidden_size)
        self.w = torch.nn.Parameter(torch.rand(2, hidden_size))

    def forward(self, x, state):
        h = step(self.read(x).unflatten(1, (2, -1)), self.w, state[0])
        return h, rc.IndRNNState(h)

    def kernel(self, x):
        return self.loop.kernel(x, self.read, self.w, rc.IndRNNState)


def main(run):
    cell, x = DiagonalGRUCell(128, 128), torch.randn(20, 35, 128)
    return min(timeit.repeat(lambda: run(cell, x)[0].sum().backward(), number=1, repeat=10))


if __name__ == "__main__":
    print(f"{1000 * main(rc.unroll):.1f} ms, by the plain loop {1000 * main(unroll_plain):.1f}")
