"""What a step is given: ids, or a line that says what else was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recurra.errors import ShapeError
from recurra.language.text.token import token_ids


def test_ids_are_a_tensor() -> None:
    assert token_ids(3).tolist() == 3
    given = torch.tensor([1, 2])
    assert token_ids(given) is given


@pytest.mark.parametrize("given", ["the", ["the", "cat"], None, np.array(["the"]), object()])
def test_what_is_no_id_is_told_in_one_short_line(given: Any) -> None:
    with pytest.raises(ShapeError, match=r"^a step takes an id or \(B,\) ids, got .*encode") as why:
        token_ids(given)
    assert len(str(why.value)) < 200 and "\n" not in str(why.value)


def test_long_texts_are_cut() -> None:
    with pytest.raises(ShapeError) as why:
        token_ids(["the"] * 10_000)  # type: ignore[arg-type]
    assert len(str(why.value)) < 200
