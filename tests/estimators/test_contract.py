"""Scikit-learn's own checks, in full: none is expected to fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sklearn.utils.estimator_checks import parametrize_with_checks

from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor
from recurra.estimators.softmax import SoftmaxClassifier

SOURCE = Path(__file__).parents[2] / "src"


@parametrize_with_checks([SoftmaxClassifier(), SequenceClassifier(), SequenceRegressor()])
def test_scikit_learn_s_check(estimator, check):
    check(estimator)


def test_the_array_interface_s_check_which_asks_for_a_setting_before_scipy():
    code = (
        "from sklearn.utils.estimator_checks import check_array_api_input as check\n"
        "from recurra.estimators.sequence import SequenceClassifier, SequenceRegressor\n"
        "from recurra.estimators.softmax import SoftmaxClassifier\n"
        "for make in (SoftmaxClassifier, SequenceClassifier, SequenceRegressor):\n"
        "    check(make.__name__, make(), 'numpy', expect_only_array_outputs=False)\n"
        "    print(make.__name__)\n"
    )
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["SoftmaxClassifier", "SequenceClassifier", "SequenceRegressor"]
