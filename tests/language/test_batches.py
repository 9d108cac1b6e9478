from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra.errors import DataError
from recurra.language.batches import StreamBatches


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
