"""Every run of a sweep is made, named and refused before any is trained."""

from __future__ import annotations

import json

import pytest

from recurra.errors import ConfigError
from recurra.learning.config import settings
from recurra.tune.grid import LONGEST_NAME, Request, grid


def labels(*assignments, **others):
    return grid(Request("labels", assignments=assignments, **others))


def test_the_product_of_all_settings_times_seeds():
    found = labels("network.cell=gru,lstm", "train.learning_rate=.003,1e-2", "train.steps=5",
                   seeds=2)  # fmt: skip
    assert found.axes == {"network.cell": ["gru", "lstm"], "train.learning_rate": [0.003, 0.01]}
    assert found.seeds == [1, 2]
    assert [*found.configs] == [
        f"cell={cell},learning_rate={rate},seed={seed}"
        for seed in (1, 2) for rate in ("0.003", "0.01") for cell in ("gru", "lstm")
    ]  # fmt: skip
    for name, config in found.configs.items():
        told = settings(config)
        assert name == (
            f"cell={told['network.cell']},learning_rate={told['train.learning_rate']},"
            f"seed={told['seed']}"
        )
        assert (told["threads"], told["train.steps"]) == (1, 5)
    rows = [each.values for each in found.settings]
    assert rows[1] == {"network.cell": "gru", "train.learning_rate": 0.01}


def test_seeds_follow_from_the_config_or_are_named():
    assert labels(changes=["seed=7"], seeds=3).seeds == [7, 8, 9]
    assert labels("seed=3,1").seeds == [3, 1]
    assert labels("seed=4", seeds=2).seeds == [4, 5]
    assert [*labels().configs] == ["seed=1"]
    with pytest.raises(ConfigError, match="--seeds counts seeds, and --set seed names them"):
        labels("seed=3,1", seeds=2)


def test_threads_that_are_asked_for_are_taken():
    assert labels(changes=["threads=2"]).settings[0].config.threads == 2


def test_one_value_that_has_commas_is_no_axis():
    found = grid(Request("airline", assignments=["data.target=[y]", "network.cell=gru"]))
    assert found.axes == {} and settings(found.settings[0].config)["data.target"] == "y"


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["train.learning_rate=0,.1,-1"], "learning_rate is '0'.*; .*learning_rate is '-1'"),
        (["network.cell=gru,ltsm"], "cell=ltsm: no cell is named 'ltsm'. Did you mean 'lstm'"),
        (["network.cel=gru,lstm"], "no setting 'network.cel'. Did you mean 'network.cell'"),
        (["network.cell=gru,gru"], "names a value twice"),
        (["train.learning_rate=.1,0.10"], "names a value twice"),
        (["network.cell=gru", "network.cell=lstm"], "set twice; for several give"),
        (["network.hidden_size=4,8", "network.cell=mine:Nothing,gru"], "mine:Nothing"),
        ([f"seed={','.join(map(str, range(101)))}",
          f"train.steps={','.join(map(str, range(1, 101)))}"], "10,100 runs are asked for"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_trained(assignments, said):
    with pytest.raises(ConfigError, match=said):
        labels(*assignments)


def test_a_size_that_is_refused_is_named_with_its_setting():
    tied = ["network.tied=true", "network.embedding_size=8"]
    with pytest.raises(ConfigError, match=r"^layer_sizes=8/4: .* shares one matrix: "):
        grid(Request("words", "grammar", assignments=[*tied, "network.layer_sizes=8/8,8/4"]))


def test_a_number_of_parameters_becomes_a_width_for_each():
    found = labels("network.cell=gru,lstm", parameters=20_000)
    widths = [settings(each.config)["network.hidden_size"] for each in found.settings]
    assert widths[0] > widths[1]
    assert all(abs(each.counted.parameters / 20_000 - 1) < 0.05 for each in found.settings)
    assert [*found.identity()["widths"].values()] == widths
    with pytest.raises(ConfigError, match="--parameters finds network"):
        labels("network.hidden_size=3,4", parameters=20_000)


def test_what_is_wrong_with_all_is_said_once():
    with pytest.raises(ConfigError) as refused:
        labels("network.cell=gru,lstm", "network.kind=softmax", parameters=20_000)
    assert str(refused.value).startswith("--parameters: network.hidden_size changes nothing")
    assert str(refused.value).count("changes nothing") == 1


def test_names_of_folders_hold_nothing_that_a_disk_takes_ill(small_text):
    found = labels("data.dataset=iris,vowels", "network.cell=gru")
    assert [*found.configs] == ["dataset=iris,seed=1", "dataset=vowels,seed=1"]
    text = grid(Request("words", str(small_text), assignments=[
        "network.layer_sizes=5/4,4/5", "data.split=90/10,80/20", "network.tied=false",
        "network.cell=recurra.nn.cells.gru:GRUCell,lstm",
    ]))  # fmt: skip
    names = [*text.configs]
    assert "layer_sizes=5-4,split=90-10,cell=recurra.nn.cells.gru-GRUCell,seed=1" in names
    assert not any(set("/:\\ ()*?'\"") & set(name) for name in names)


def test_long_names_are_cut_and_stay_apart(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    long = [f"{'x' * (LONGEST_NAME + 20)}{end}" for end in "ab"]
    for name in long:
        (tmp_path / f"{name}.txt").write_text("a b c\n" * 50)
    found = grid(Request("words", assignments=[f"data.corpus={long[0]}.txt,{long[1]}.txt"]))
    assert len(found.configs) == 2 and all(len(name) < 200 for name in found.configs)


def test_values_that_look_alike_as_folders_are_numbered(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("a b.txt", "a:b.txt"):
        (tmp_path / name).write_text("a b c\n" * 50)
    found = grid(Request("words", assignments=["data.corpus=a b.txt,a:b.txt"]))
    assert [*found.configs] == ["1,corpus=a-b.txt,seed=1", "2,corpus=a-b.txt,seed=1"]


def test_its_identity_is_json_and_holds_what_all_share():
    one = labels("network.cell=gru,lstm", seeds=2).identity()
    assert one == json.loads(json.dumps(one))
    assert "network.cell" not in one["common"] and "seed" not in one["common"]
    assert one["common"]["train.batch_size"] == 32
    assert one == labels("network.cell=gru,lstm", seeds=2).identity()
    assert one != labels("network.cell=lstm,gru", seeds=2).identity()


def test_without_a_network_nothing_is_counted(data_root):
    found = grid(Request("kn5", assignments=["ngram.order=2,3"]))
    assert [each.counted for each in found.settings] == [None, None]
    assert [*found.configs] == ["order=2,seed=1", "order=3,seed=1"]
