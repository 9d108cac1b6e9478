from __future__ import annotations

from typing import Any

import pytest

from recurra.errors import ConfigError
from recurra.nn.cells.candidate import require_candidate


def test_there_are_two() -> None:
    require_candidate("linear")
    require_candidate("positive")


@pytest.mark.parametrize("candidate", ["square", "", None, ["linear"]], ids=str)
def test_no_other_is_taken(candidate: Any) -> None:
    with pytest.raises(ConfigError, match="candidate is 'linear' or 'positive', got "):
        require_candidate(candidate)
