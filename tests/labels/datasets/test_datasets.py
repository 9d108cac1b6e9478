"""The door to all datasets: how they are found, divided, and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recurra.errors import ConfigError, DataError
from recurra.labels.datasets import DATASETS, LabelData, label, open_labels, open_source
from recurra.labels.datasets.base import LabelSource
from recurra.labels.options import LabelOptions
from recurra.labels.reading.examples import NamedExamples


def table(folder: Path, text: str, name: str = "things.csv") -> LabelOptions:
    path = folder / name
    path.write_text(text)
    return LabelOptions(dataset=str(path))


def rows(**counts: int) -> str:
    lines = [f"{number},{name}" for name, count in counts.items() for number in range(count)]
    return "x,label\n" + "\n".join(lines)


def held(data: LabelData, split: str) -> list[tuple[str, float]]:
    part = data.split(split)
    return [(data.classes[place], s[0, 0]) for s, place in zip(part.sequences, part.labels)]


# Finding


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_says_where_it_is(name):
    source = open_source(LabelOptions(dataset=name))
    assert isinstance(source, LabelSource)
    assert source.found()


class Signs(LabelSource):
    def parts(self):
        values = [-3.0, -2.0, -1.0, 1.0, 2.0]
        return {
            "train": NamedExamples(
                tuple(np.array([[value]]) for value in values),
                ("minus",) * 3 + ("plus",) * 2,
                (),
                "signs",
            )
        }


def test_a_name_a_file_or_a_class_of_ones_own(tmp_path, monkeypatch):
    assert open_source(table(tmp_path, rows(a=2, b=2))).found().endswith("things.csv")
    monkeypatch.setitem(DATASETS.places, "signs", f"{__name__}:Signs")
    monkeypatch.setattr("recurra.table.imported", lambda place, kind: Signs)
    assert open_labels(LabelOptions(dataset="signs")).classes == ("minus", "plus")
    assert open_labels(LabelOptions(dataset="mine:Signs")).classes == ("minus", "plus")


def test_what_is_not_there():
    with pytest.raises(ConfigError, match=r"no dataset is named 'irsi'\. Did you mean 'iris'"):
        open_source(LabelOptions(dataset="irsi"))
    with pytest.raises(ConfigError, match="is not a dataset: derive it from"):
        open_source(LabelOptions(dataset="collections:OrderedDict"))
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        open_labels(LabelOptions(dataset="nowhere.csv"))


# Dividing


def test_a_share_of_every_class_is_held_out_and_nothing_is_lost(tmp_path):
    options = table(tmp_path, rows(a=50, b=20, c=3))
    data = open_labels(options.model_copy(update={"valid_fraction": 0.25}))
    assert not data.published
    assert data.split("test").counts() == {"a": 10, "b": 4, "c": 1}
    assert data.split("valid").counts() == {"a": 10, "b": 4, "c": 1}  # of 40, 16, 2
    everything = [example for split in data.splits for example in held(data, split)]
    assert sorted(everything) == sorted(
        (name, float(number)) for name, n in (("a", 50), ("b", 20), ("c", 3)) for number in range(n)
    )


def test_what_is_held_out_is_drawn_but_always_the_same(tmp_path):
    options = table(tmp_path, rows(a=50, b=50))
    first, again = (held(open_labels(options), "test") for _ in range(2))
    assert first == again
    numbers = [number for _, number in first]
    assert numbers[:10] not in (list(range(10)), list(range(40, 50)))
    wider = held(open_labels(options.model_copy(update={"test_fraction": 0.5})), "test")
    assert set(first) < set(wider)


def test_a_published_test_is_left_alone(tmp_path):
    table(tmp_path, rows(a=2, b=7), "things_TEST.csv")
    options = table(tmp_path, rows(a=6, b=5), "things_TRAIN.csv")
    data = open_labels(options)
    assert data.published
    assert {split: part.counts() for split, part in data.splits.items()} == {
        "train": {"a": 6, "b": 5},
        "test": {"a": 2, "b": 7},
    }
    with pytest.raises(DataError, match="the data have no valid split, only train, test"):
        data.split("valid")


def test_classes_are_in_their_declared_or_else_natural_order(tmp_path):
    numbered = table(tmp_path, "x,label\n" + "".join(f"0,{n % 11}\n" for n in range(33)))
    assert open_labels(numbered).classes == tuple(map(str, range(11)))
    assert open_labels(table(tmp_path, rows(b=2, c=2, a=2))).classes == ("a", "b", "c")
    path = tmp_path / "words.ts"
    path.write_text("@classLabel true c b unused a\n@data\n" + "1:a\n2:b\n3:c\n" * 2)
    data = open_labels(LabelOptions(dataset=str(path)))
    assert data.classes == ("c", "b", "a")


def test_lengths_are_those_of_all_splits(tmp_path):
    (tmp_path / "w_TRAIN.ts").write_text("@classLabel true\n@data\n1,2:a\n1,2:b\n")
    (tmp_path / "w_TEST.ts").write_text("@classLabel true\n@data\n1,2:a\n1,2,3:b\n")
    data = open_labels(LabelOptions(dataset=str(tmp_path / "w_TRAIN.ts")))
    assert (data.lengths, data.steps) == ((2, 3), None)
    assert open_labels(LabelOptions(dataset="iris")).steps == 1


def test_the_fingerprint_knows_every_split(tmp_path):
    options = table(tmp_path, rows(a=50, b=50))
    prints = {
        open_labels(options.model_copy(update=changes)).fingerprint()
        for changes in ({}, {"valid_fraction": 0.1}, {"test_fraction": 0.3})
    }
    assert len(prints) == 3


# Classes that cannot be learned or judged


def test_a_class_that_is_missing_in_training(tmp_path):
    table(tmp_path, rows(a=2, c=7, d=1), "things_TEST.csv")
    options = table(tmp_path, rows(a=6, b=5), "things_TRAIN.csv")
    with pytest.raises(DataError) as caught:
        open_labels(options)
    assert caught.value.exit_code == 3
    said = str(caught.value)
    assert "the training part has no example of 'c' (7), 'd' (1) elsewhere" in said
    assert "it has 'a' (6), 'b' (5), 'c' (0), 'd' (0)" in said


def test_a_single_class(tmp_path):
    with pytest.raises(DataError, match=r"has a single class to learn from, 'a' \(4\)") as caught:
        open_labels(table(tmp_path, rows(a=4)))
    assert caught.value.exit_code == 3
    table(tmp_path, rows(a=2, b=7), "things_TEST.csv")
    with pytest.raises(DataError, match=r"single class to learn from, 'a' \(6\), 'b' \(0\)"):
        open_labels(table(tmp_path, rows(a=6), "things_TRAIN.csv"))


def test_a_class_too_small_to_be_divided(tmp_path):
    with pytest.raises(
        DataError, match=r"two examples are needed.*test split; there are 'a' \(5\), 'b' \(1\)"
    ):
        open_labels(table(tmp_path, rows(a=5, b=1)))
    options = table(tmp_path, rows(a=5, b=2)).model_copy(update={"valid_fraction": 0.1})
    with pytest.raises(DataError, match=r"valid split; there are 'a' \(4\), 'b' \(1\)"):
        open_labels(options)


def test_a_label_that_was_not_learned_is_counted():
    part = NamedExamples((np.zeros((1, 1)),) * 4, ("a", "z", "y", "z"), (), "here.ts")
    with pytest.raises(DataError, match=r"here\.ts: no example of 'z' \(2\), 'y' \(1\) was there"):
        label(part, ("a", "b"))
