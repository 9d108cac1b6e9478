from __future__ import annotations

import gzip

import pytest

from recurra.errors import DataError
from recurra.labels.datasets import open_labels, open_source
from recurra.labels.options import LabelOptions

OPTIONS = LabelOptions(dataset="vowels")


def test_270_utterances_to_learn_from_and_370_to_be_judged_by(data_root):
    data = open_labels(OPTIONS)
    train, test = data.split("train"), data.split("test")
    assert data.published
    assert data.classes == tuple("123456789")
    assert train.counts() == dict.fromkeys(data.classes, 30)
    assert list(test.counts().values()) == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert train.num_features == test.num_features == 12
    assert (data.lengths, train.lengths) == ((7, 29), (7, 26))
    assert train.sequences[0].shape == (20, 12)
    assert train.sequences[0][:3, 0].tolist() == [1.860936, 1.891651, 1.939205]
    assert open_source(OPTIONS).found() == str(data_root / "ucr")


def test_unpacked_files_serve_and_altered_ones_do_not(data_root, tmp_path, monkeypatch):
    expected = open_labels(OPTIONS).fingerprint()
    folder = tmp_path / "data" / "ucr"
    folder.mkdir(parents=True)
    for split in ("TRAIN", "TEST"):
        name = f"JapaneseVowels_{split}.ts"
        packed = (data_root / "ucr" / f"{name}.gz").read_bytes()
        (folder / name).write_bytes(gzip.decompress(packed))
    monkeypatch.setenv("RECURRA_DATA", str(folder.parent))
    assert open_labels(OPTIONS).fingerprint() == expected
    with (folder / "JapaneseVowels_TEST.ts").open("a") as file:
        file.write("# one line more\n")
    with pytest.raises(DataError, match=r"TEST\.ts is not the published file: expected SHA-256 b3"):
        open_labels(OPTIONS)


def test_where_they_are_missing_it_says_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        open_labels(OPTIONS)
    said = str(caught.value)
    assert str(tmp_path / "ucr" / "JapaneseVowels_TRAIN.ts.gz") in said
    assert "https://www.timeseriesclassification.com" in said
