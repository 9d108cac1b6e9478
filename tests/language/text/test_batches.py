from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from recurra.errors import DataError
from recurra.language.text.batches import StreamBatches, random_chunks


@st.composite
def texts(draw):
    batch_size, chunk_length = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    shortest = batch_size * (chunk_length + 1)
    return draw(st.integers(shortest, shortest + 60)), batch_size, chunk_length


@given(texts())
def test_against_brute_force(shape):
    length, B, T = shape
    text = list(range(100, 100 + length))
    batches = StreamBatches(np.array(text, np.int32), B, T)
    each = length // B
    assert len(batches) == (each - 1) // T
    for k in range(len(batches)):
        inputs, targets = batches.batch(k)
        for row in range(B):
            place = row * each + k * T
            assert inputs[row].tolist() == text[place : place + T]
            assert targets[row].tolist() == text[place + 1 : place + 1 + T]


@given(texts())
def test_streams_go_on_from_batch_to_batch(shape):
    length, B, T = shape
    batches = StreamBatches(np.arange(length), B, T)
    inputs = torch.cat([batches.batch(k)[0] for k in range(len(batches))], 1)
    assert (inputs[:, 1:] == inputs[:, :-1] + 1).all()


def test_batches_are_contiguous_int64_and_their_own(tmp_path):
    np.arange(12, dtype=np.int32).tofile(tmp_path / "ids")
    batches = StreamBatches(np.memmap(tmp_path / "ids", np.int32, "r"), 2, 2)
    inputs, targets = batches.batch(1)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    inputs.zero_()
    assert batches.batch(1)[0].tolist() == [[2, 3], [8, 9]]


def test_a_loop_over_them_reads_the_text_once():
    batches = StreamBatches(range(23), batch_size=2, chunk_length=3)
    found = [(x.tolist(), y.tolist()) for x, y in batches]
    assert found == [tuple(each.tolist() for each in batches.batch(k)) for k in range(3)]
    assert len(batches) == 3 and [len(list(batches.epoch(2))), len(list(batches))] == [3, 3]
    assert found[-1] == ([[6, 7, 8], [17, 18, 19]], [[7, 8, 9], [18, 19, 20]])


def test_epochs_of_random_chunks_are_read_in_turn():
    batches = StreamBatches(np.arange(400), 2, 20, seed=3)
    lengths = [[x.shape[1] for x, _ in batches.epoch(number)] for number in range(2)]
    assert [sum(each) for each in lengths] == [199, 199] and lengths[0] != lengths[1]
    assert [x.shape[1] for x, _ in batches] == lengths[0]


def test_a_batch_depends_on_its_number_alone():
    batches = StreamBatches(np.arange(100), 3, 4)
    forward = [batches.batch(k)[0].tolist() for k in range(len(batches))]
    backward = [batches.batch(k)[0].tolist() for k in reversed(range(len(batches)))]
    assert forward == backward[::-1]


@pytest.mark.parametrize("k", [-1, 8])
def test_no_such_batch(k):
    with pytest.raises(IndexError, match=f"batch {k} of 8"):
        StreamBatches(np.arange(100), 3, 4).batch(k)


@pytest.mark.parametrize("length", [0, 1, 719])
def test_too_short(length):
    with pytest.raises(DataError, match=f"20 sequences of 35 steps need 720 tokens.*{length}"):
        StreamBatches(np.arange(length), 20, 35)


def test_just_long_enough():
    assert len(StreamBatches(np.arange(720), 20, 35)) == 1


# Chunks of random length


def drawn(steps: int, T: int, seed: int) -> list[int]:
    return random_chunks(steps, T, torch.Generator().manual_seed(seed)).tolist()


@given(st.integers(1, 3000), st.integers(1, 90), st.integers(0, 5))
def test_random_chunks_fill_the_stream(steps, T, seed):
    starts = drawn(steps, T, seed)
    lengths = np.diff(starts)
    assert (starts[0], starts[-1]) == (0, steps)
    assert (lengths > 0).all() and (lengths[:-1] >= 5).all()
    assert starts == drawn(steps, T, seed)


def test_their_lengths_are_distributed_as_in_the_paper():
    """Against the expectation of max(5, floor(N(T or T / 2, 5))), by its distribution function."""
    T, count = 70, 40_000
    lengths = np.diff(drawn(T * count, T, 1))[:-1]
    edges = np.arange(5, 2 * T)
    below = 0.95 * norm.cdf(edges, T, 5) + 0.05 * norm.cdf(edges, T / 2, 5)
    probabilities = np.diff(below, prepend=0, append=1)  # of 4 or less, 5, 6, ...
    probabilities = np.array([probabilities[:2].sum(), *probabilities[2:]])
    found = np.bincount(lengths, minlength=2 * T + 1)[5 : 2 * T].astype(float)
    assert found.sum() == len(lengths)
    expected = probabilities[: len(found)] * len(lengths)
    told = expected > 10
    statistic = ((found[told] - expected[told]) ** 2 / expected[told]).sum()
    assert chi2.sf(statistic, told.sum()) > 0.001
    assert 0.045 < (lengths < 52).mean() < 0.055


def test_no_chunk_but_the_last_is_shorter_than_five():
    assert set(np.diff(drawn(500, 1, 3))[:-1]) <= set(range(5, 25))
    assert min(np.diff(drawn(5000, 8, 3))[:-1]) == 5


@given(texts(), st.integers(0, 3))
def test_random_chunks_go_on_through_the_whole_stream(shape, epoch):
    length, B, T = shape
    text = np.arange(100, 100 + length)
    batches = StreamBatches(text, B, T, seed=2)
    count, each = batches.steps_in(epoch), length // B
    pairs = [batches.batch(k, epoch) for k in range(count)]
    inputs, targets = (torch.cat(side, 1).numpy() for side in zip(*pairs))
    for row in range(B):
        stream = text[row * each : (row + 1) * each]
        assert (inputs[row] == stream[:-1]).all() and (targets[row] == stream[1:]).all()
    for k, (chunk, _) in enumerate(pairs):
        assert batches.rate_factor(epoch, k) == chunk.shape[1] / T
    with pytest.raises(IndexError, match=f"batch {count} of {count}"):
        batches.batch(count, epoch)


def test_an_epoch_has_chunks_of_its_own_whatever_was_asked_before():
    batches, again = (StreamBatches(np.arange(4000), 2, 20, seed=7) for _ in range(2))
    forward = [batches.batch(k, e)[0].tolist() for e in range(3) for k in range(9)]
    backward = [again.batch(k, e)[0].tolist() for e in (2, 1, 0) for k in range(8, -1, -1)]
    assert forward == backward[::-1]
    assert len({batches.steps_in(epoch) for epoch in range(9)}) > 1
    assert len({batches.batch(0, epoch)[0].shape[1] for epoch in range(9)}) > 3
    other = StreamBatches(np.arange(4000), 2, 20, seed=8)
    assert [other.batch(k)[0].shape for k in range(9)] != [
        batches.batch(k)[0].shape for k in range(9)
    ]


def test_chunks_of_one_length_are_the_same_in_every_epoch_and_weigh_the_same():
    batches = StreamBatches(np.arange(100), 3, 4)
    assert batches.batch(2, epoch=5)[0].tolist() == batches.batch(2)[0].tolist()
    assert batches.steps_in(9) == len(batches) == 8
    assert batches.rate_factor(3, 7) == 1.0
