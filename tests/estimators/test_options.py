from __future__ import annotations

import numpy as np
import pytest

from recurra.errors import ConfigError
from recurra.estimators.options import SequenceOptions, checked
from recurra.learning.options import TrainOptions


def test_numpy_s_numbers_are_numbers():
    options = checked(
        SequenceOptions, num_layers=np.int32(2), dropout=np.float32(0.5), standardize=np.bool_(0)
    )
    assert (options.num_layers, options.dropout, options.standardize) == (2, 0.5, False)


def test_all_that_is_wrong_stands_in_one_line():
    with pytest.raises(ConfigError) as caught:
        checked(TrainOptions, epochs=-1, batch_size="many", lerning_rate=1)
    assert str(caught.value) == (
        "epochs is -1, but must be above 0; batch_size is 'many', "
        "but must be a whole number; there is no setting "
        "'lerning_rate'. Did you mean 'learning_rate'?"
    )


def test_every_option_says_what_it_is():
    assert all(field.description for field in SequenceOptions.model_fields.values())
