"""Estimators on disk: a finished model, with the parameters and what was fitted beside it.

To a model's files come `estimator.json`, the class's name, its parameters and what it knows of its
data, and `state.safetensors`, what a fit goes on with. Commands read the model and pass these over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from recurra.errors import CheckpointError, ConfigError, DataError
from recurra.learning.options import Options
from recurra.learning.written import placed, typed
from recurra.storage.files import Content, json_bytes
from recurra.storage.format import Format
from recurra.storage.pretrained import Pretrained, format_of, open_pretrained, save_pretrained
from recurra.storage.reading import MOST_JSON, read_json
from recurra.storage.sources import Unchanged
from recurra.storage.tensors import load_tensors, write_tensors
from recurra.table import named_by_file

__all__ = ["Found", "Labels", "form_of", "opened", "parameters_of", "settings_kept", "write"]

ESTIMATOR, STATE = "estimator.json", "state.safetensors"

GROWS = ("steps", "epochs")
"""Parameters of which there may be more where a fit goes on."""

Fitted = TypeVar("Fitted", bound=Options)

WHOLE = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
KINDS = {"bool", "str", "object", "float16", "float32", "float64", *WHOLE}
"""Of labels that JSON can hold."""


def form_of(name: str) -> Format:
    """Return the format of a model's directory that holds an estimator too.

    Args:
        name: of the model's.

    Example:
        >>> form_of("recurra-classifier").files
        ('estimator.json', 'state.safetensors')
    """
    return Format(name, files=(ESTIMATOR, STATE))


class Labels(Options):
    """Classes as JSON holds them.

    Example:
        >>> Labels.of(np.array(["no", "yes"])).array().tolist()
        ['no', 'yes']
    """

    kind: str
    values: list[bool | int | float | str]

    @classmethod
    def of(cls, classes: NDArray[Any]) -> Labels:
        """Return classes, which are texts, numbers or truth values.

        Args:
            classes: `(C,)`.

        Raises:
            DataError: they are of another kind.
        """
        kind = {"U": "str", "T": "object"}.get(classes.dtype.kind, classes.dtype.name)
        values = classes.tolist()
        odd = [value for value in values if not isinstance(value, bool | int | float | str)]
        if odd or kind not in KINDS:
            raise DataError(
                f"labels are {kind}, as {(odd or values)[0]!r:.80}: to be saved they must be "
                "texts, whole numbers, floats or truth values; fit on y.astype(str)"
            )
        return cls(kind=kind, values=values)

    def array(self) -> NDArray[Any]:
        """Return the classes as they were.

        Raises:
            CheckpointError: the values are not of their kind.
        """
        if self.kind not in KINDS:
            raise CheckpointError(f"there are no labels of the kind {self.kind!r:.80}")
        try:
            return np.array(self.values, dtype=self.kind)
        except (ValueError, TypeError, OverflowError) as error:
            raise CheckpointError(f"classes are no {self.kind}: {error!s:.200}") from error


class _Written(Options):
    """What `estimator.json` says; what was fitted is of the class's own form."""

    estimator: str
    parameters: dict[str, Any]
    fitted: dict[str, Any]


class Found(NamedTuple, Generic[Fitted]):
    """An estimator that was read, its model not yet.

    Args:
        estimator: with its parameters.
        fitted: what it knows of its data.
        state: what a fit goes on with.
        model: the model's files.
    """

    estimator: Any
    fitted: Fitted
    state: dict[str, Tensor]
    model: Pretrained


def parameters_of(estimator: BaseEstimator, seed: int) -> dict[str, Any]:
    """Return the parameters of a fitted estimator as JSON holds them, without its `model_dir`.

    Args:
        estimator: any of ours.
        seed: what was drawn from a generator that is its `random_state`.

    Example:
        >>> from recurra.estimators.softmax import SoftmaxClassifier
        >>> model = SoftmaxClassifier(steps=np.int64(3), class_weight={"yes": 2})
        >>> found = parameters_of(model, seed=1)
        >>> found["steps"], found["class_weight"]
        (3, [['yes', 2]])
    """
    found = estimator.get_params(deep=False)
    del found["model_dir"]
    given = found["random_state"]
    if given is not None and not isinstance(given, int | np.integer):
        found["random_state"] = seed
    if isinstance(weights := found.get("class_weight"), Mapping):
        found["class_weight"] = [list(map(_plain, item)) for item in weights.items()]
    return {name: _plain(value) for name, value in found.items()}


def settings_kept(estimator: BaseEstimator, seed: int) -> dict[str, str]:
    """Return what must be as it was where a fit goes on in a directory: all but what may grow.

    Args:
        estimator: any of ours.
        seed: drawn for the fit.
    """
    found = parameters_of(estimator, seed)
    kept = {name: repr(value) for name, value in found.items() if name not in GROWS}
    return {"estimator": type(estimator).__name__, **kept}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def write(
    estimator: BaseEstimator,
    directory: Path | str,
    model: tuple[Format, str, Mapping[str, Any], Mapping[str, Tensor]],
    seed: int,
    fitted: Options,
    state: Mapping[str, Tensor],
) -> None:
    """Write a fitted estimator as a directory.

    Args:
        estimator: whose class and parameters are written.
        directory: its place: free, an empty folder, or a model, which is replaced.
        model: its format, kind, facts and tensors.
        seed: what was drawn for the fit.
        fitted: what the estimator knows of its data.
        state: what a fit goes on with.

    Raises:
        ConfigError: what is there is no model, or holds something else too.
        DataError: there are more names than a model's file holds.
    """
    form, kind, facts, tensors = model
    said = {
        "estimator": type(estimator).__name__,
        "parameters": parameters_of(estimator, seed),
        "fitted": fitted.model_dump(mode="json"),
    }
    data = json_bytes(said)
    if len(data) > MOST_JSON:
        raise DataError(
            f"the names of features and classes take {len(data):,} bytes, over {MOST_JSON:,}: "
            "fit on arrays without names"
        )
    files: dict[str, Content] = {ESTIMATOR: data, STATE: partial(write_tensors, state)}
    save_pretrained(directory, form, kind, facts, tensors, files)


@contextmanager
def opened(
    kind: type[BaseEstimator],
    form: Format,
    fitted: type[Fitted],
    directory: Path | str,
    allow_import: Iterable[str],
) -> Iterator[Found[Fitted]]:
    """Give what was saved of an estimator; within, names are looked up as its file's.

    Args:
        kind: its class.
        form: of its model.
        fitted: the form of what it knows of its data.
        directory: what `write` wrote, or a `model_dir`.
        allow_import: cells of someone's own that it may name.

    Raises:
        CheckpointError: there is none, it is damaged or another class's.
    """
    if (name := format_of(directory)) != form.name:
        raise CheckpointError(f"{directory} holds a {name:.80}, no {kind.__name__}")
    place = open_pretrained(directory, Format(form.name)).facts_path.parent
    if not (place / ESTIMATOR).is_file():
        raise CheckpointError(
            f"{place} holds a model alone, no estimator; load it by its own class"
        )
    model = open_pretrained(directory, form)
    path = model.files[ESTIMATOR]
    written = typed(_Written, read_json(path), path)
    if written.estimator != kind.__name__:
        raise CheckpointError(
            f"{place} holds a {written.estimator:.80}, no {kind.__name__}; load it by that class"
        )
    with named_by_file(path, allow_import, Unchanged(path)), placed(place):
        estimator = _made(kind, written.parameters, path)
        facts = typed(fitted, written.fitted, f"{path}: fitted")
        try:
            yield Found(estimator, facts, load_tensors(model.files[STATE]), model)
        except ConfigError as error:  # whatever is out of range was read here
            raise CheckpointError(f"{path}: {error}") from error


def _made(kind: type[BaseEstimator], parameters: dict[str, Any], path: Path) -> BaseEstimator:
    """Return an unfitted estimator, with each parameter that its class has and no other."""
    known = set(kind._get_param_names()) - {"model_dir"}
    if odd := known ^ parameters.keys():
        raise CheckpointError(f"{path}: parameters lack or have {min(odd)!r:.80}")
    weights = parameters.get("class_weight")
    try:
        if isinstance(weights, list):
            parameters = {**parameters, "class_weight": dict(weights)}
        return kind(**parameters)
    except (TypeError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{path}: parameters: {error!s:.200}") from error
