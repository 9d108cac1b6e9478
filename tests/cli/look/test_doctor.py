"""`recurra doctor`: facts, and in words what is fine and what is not."""

from __future__ import annotations

import os
import platform
import tomllib
from pathlib import Path

import pytest
import torch

from recurra.cli.look import doctor

ROOT = Path(__file__).parents[3]


def test_the_facts(recurra, tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "data"))
    facts = recurra("doctor", "--json").json
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["versions"]["numpy"]
    assert facts["processor"]["cores"] >= 1
    assert facts["processor"]["threads"] == torch.get_num_threads()
    assert isinstance(facts["processor"]["bfloat16"], bool)
    assert isinstance(facts["processor"]["amx"], bool)
    assert facts["versions"]["numba"]
    assert facts["kernels"]["missing"] is None
    assert isinstance(facts["kernels"]["torch_threads"], bool)
    assert (facts["gpu"] is None) is not torch.cuda.is_available()
    assert facts["free_memory_bytes"] is None or facts["free_memory_bytes"] > 0
    assert facts["folders"]["data"]["path"] == str(tmp_path / "data")
    assert facts["folders"]["data"]["exists"] is False
    assert facts["folders"]["data"]["writable"] is True
    assert facts["folders"]["cache"]["path"] == os.environ["RECURRA_CACHE"]
    assert facts["folders"]["runs"]["free_bytes"] > 0
    assert facts["data"]["ptb"] is None and facts["data"]["grammar"]
    assert facts["data"]["m4-hourly"] is None and facts["data"]["airline"]
    assert facts["data"]["iris"]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    of_the_workshop = {"dev", "dist", "docs"}
    assert {*facts["extras"]} | of_the_workshop == set(declared["optional-dependencies"])
    assert facts["healthy"] is all(finding["fine"] for finding in facts["findings"])


def test_it_says_in_words_what_is_fine(recurra):
    out = recurra("doctor").out
    assert out.startswith("recurra ")
    assert "fine     docstrings: made on this machine" in out
    assert out.splitlines()[-1] in (
        "Everything is fine.",
        "It runs; see what is to be looked at.",
    )


def test_it_counts_the_functions_that_are_kept(recurra, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    for name in ("recurra/f.45", "recurra/g.45", "others_67/h.nbi"):
        (tmp_path / "kept" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "kept" / name).touch()
    kernels = recurra("doctor", "--json").json["kernels"]
    folder = tmp_path / "kept" / "recurra"
    assert (kernels["compiled"], kernels["folder"]) == (2, str(folder))
    assert f"; 2 functions are kept in {folder}" in recurra("doctor").out
    folder.chmod(0o777)
    said = f"others may write to {folder} (mode 777): chmod go-w it"
    assert recurra("doctor", "--json").json["kernels"]["distrusted"] == said
    told = " ".join(recurra("doctor").out.split())
    assert f"none are kept, as others could change them: {said}" in told
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    folder = recurra("doctor", "--json").json["kernels"]["folder"]
    assert folder == str(Path(os.environ["RECURRA_CACHE"], "kernels"))


@pytest.fixture
def facts(recurra) -> dict:
    found = recurra("doctor", "--json").json
    found["processor"]["load"] = 0.0
    return found


def words(facts: dict) -> dict[str, bool]:
    return {finding["what"]: finding["fine"] for finding in doctor._findings(facts)}


def test_whose_threads_run_the_kernels(facts):
    facts["versions"]["numba"] = "0.99"
    facts["kernels"] |= {"torch_threads": True, "compiled": 7, "folder": "/there"}
    said = "kernels compiled by numba 0.99 run on torch's own threads; 7 functions are kept in"
    assert words(facts)[f"{said} /there"] is True
    facts["kernels"]["torch_threads"] = False
    said = said.replace("torch's own threads", "a pool of threads")
    assert words(facts)[f"{said} /there"] is True


def test_without_numba_the_reason_is_told(facts):
    facts["kernels"]["missing"] = "NUMBA_DISABLE_JIT is set"
    said = next(what for what, fine in words(facts).items() if not fine)
    assert said == (
        "no compiled kernels: NUMBA_DISABLE_JIT is set: networks run slower, on torch alone; "
        "mend that, or pip install numba"
    )


def test_too_many_threads_are_not_fine(facts):
    facts["processor"] |= {"cores": 2, "threads": 8}
    said = next(what for what, fine in words(facts).items() if not fine)
    assert said.startswith("torch uses 8 threads on 2 cores: more threads than cores slow")


def test_busy_cores_are_told(facts):
    facts["processor"] |= {"cores": 2, "load": 2.2}
    assert words(facts)["2.2 programs wanted a core in the last minute, of which there are 2"]
    facts["processor"]["load"] = 5.03
    said = next(what for what, fine in words(facts).items() if not fine)
    assert said.startswith("5.0 programs wanted a core in the last minute, of which there are 2: ")


def test_little_memory_is_not_fine(facts):
    facts["free_memory_bytes"] = 300 << 20
    assert words(facts)["0.3 GiB of memory are free: the larger presets may not fit"] is False


def test_a_folder_that_cannot_be_written_says_which_variable(facts):
    facts["folders"]["cache"] |= {"writable": False, "path": "/there"}
    said = "the cache folder /there cannot be written to: set RECURRA_CACHE to a folder that can be"
    assert words(facts)[said] is False


def test_read_only_data_are_fine_when_complete(facts):
    facts["folders"]["data"] |= {"writable": False, "path": "/there"}
    facts["data"] = {"ptb": "/there/ptb"}
    assert words(facts)["the data folder /there is read-only, and complete"] is True
    facts["data"] = {"ptb": None}
    assert not all(words(facts).values())


def test_a_full_disk_is_not_fine(facts):
    facts["folders"]["runs"]["free_bytes"] = 1 << 30
    said = "1.0 GiB of disk are free for runs: checkpoints and caches may need 2.0 GiB"
    assert words(facts)[said] is False


def test_a_processor_without_bfloat16_is_fine(facts):
    facts["processor"] |= {"bfloat16": False, "instructions": "AVX2"}
    said = "AVX2 instructions; float32 throughout, as there is no bfloat16"
    assert words(facts)[said] is True
