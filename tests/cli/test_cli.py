"""The command line as a whole: exit codes, one line for an error, streams that close."""

from __future__ import annotations

import errno
import importlib.metadata
import io
import os
import signal
import subprocess
import sys
import time

import pytest

from recurra import cli, errors
from recurra.cli.interrupt import current

UNASKED = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"


def test_no_words_and_help_list_the_commands(recurra):
    bare, asked, short = recurra(), recurra("--help"), recurra("-h")
    assert bare.code == asked.code == short.code == 0
    assert bare.out == asked.out == short.out
    for command in ("forecast", "backtest", "classify", "compare"):
        assert command in asked.out
    for command in ("train", "evaluate", "presets", "show", "data", "demo", "doctor"):
        assert command in asked.out


def test_the_version(recurra):
    answer = recurra("--version")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"recurra {importlib.metadata.version('recurra')}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frain"], "recurra: No such command 'frain'. Did you mean 'train'? (see recurra --help)"),
        (["show"], "recurra show: Missing argument 'PRESET'. (see recurra show --help)"),
        (["train", "--epoch", "3"], "recurra train: No such option: --epoch"),
        (["train", "--cell", "gru"], "No such option: --cell; give --set network.cell=gru (see"),
        (["train", "words", "--hidden-size=9"], "; give --set network.hidden_size=9 (see"),
        (["train", "kn5", "--order"], "No such option: --order; give --set ngram.order=VALUE (see"),
        (["train", "kn5", "--cell", "gru"], "recurra train: No such option: --cell"),
        (["train", "--task", "series"], "No such option: --task"),
        (["evaluate", "--cell", "gru"], "recurra evaluate: No such option: --cell"),
        (["train", "--lr", "3"], "No such option: --lr; give --set train.learning_rate=3 (see"),
        (["train", "--epochs", "few"], "train: --epochs is 'few', but must be a number (see"),
        (["train", "--device", "gpu"], "--device is 'gpu', but must be one of auto, cpu, cuda ("),
        (["show", "ptb"], "no preset is named 'ptb'. Did you mean 'ptb-seed'?"),
        (["train", "--set", "train.lr=1"], "Did you mean 'train.learning_rate'?"),
        (["train", "--set", "hidden=3"], "Did you mean 'network.hidden_size'?"),
        (["train", "--set", "network.lr=3"], "Did you mean 'train.learning_rate'?"),
        (["train", "--set", "train.wd=3"], "Did you mean 'train.weight_decay'?"),
        (["bench", "cells", "--seeds", "0"], "--seeds is 0, but must be at least 1"),
        (["train", "ptb-sed"], "no preset is named 'ptb-sed'. Did you mean 'ptb-seed'?"),
        (["train", "--set", "train.epoch=3"], "Did you mean 'train.epochs'?"),
        (["train", "kn3", "--epochs", "3"], "kn3 has no setting 'train.epochs'."),
        (["train", "--seed", "-1"], "seed is '-1', but must be a whole number, at least 0"),
        (
            ["evaluate", "x", "--split", "dev"],
            "--split is 'dev', but must be one of train, valid, test",
        ),
        (["train", "--data", "novel.tx"], "novel.tx is not there. Did you mean 'novel.txt'?"),
        (["train", "--from", "run/other"], "run/other is not there. (see"),
        (["evaluate", "novel"], "novel is not there. Did you mean 'novel.txt'?"),
        (["data", "show", "pbt"], "no corpus is named 'pbt'. Did you mean 'ptb'?"),
        (["data", "show", "m4-hourl"], "Did you mean 'm4-hourly'?"),
        (["data", "show", "vowel"], "Did you mean 'vowels'?"),
        (["forecast", "novel"], "novel is not there. Did you mean 'novel.txt'?"),
        (["compare", "novel.txt", "novel"], "novel is not there. Did you mean 'novel.txt'?"),
        (["classify", ".", "novel"], "novel is not there. Did you mean 'novel.txt'?"),
        (["forecast", ".", "--levels", "80;95"], "'80;95', but must be like 80,95"),
        (["forecast", ".", "--horizon", "0"], "--horizon is '0', but must be at least 1 (see"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_2(recurra, tmp_path, words, said):
    (tmp_path / "novel.txt").write_text("")
    answer = recurra(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert said in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("group", "title", "first"),
    [("data", "commands", "list"), ("demo", "commands", "forward"), ("bench", "benches", "cells")],
)
def test_a_group_alone_lists_what_it_has_and_ends_well(recurra, group, title, first):
    told, as_json = recurra(group), recurra(group, "--json")
    assert (told.code, told.err, as_json.code) == (0, "", 0)
    assert told.out.startswith(f"{first} ") and f"recurra {group} NAME" in told.out
    assert as_json.json[title][0]["name"] == first
    assert as_json.json[title][0]["description"] in told.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "kn2", "--data", "empty.txt"], 3, "no tokens in empty.txt"),
        (["evaluate", "."], 4, "holds no model"),
        (["forecast", "."], 4, "holds no model"),
        (["backtest", "."], 4, "holds no model"),
        (["classify", ".", "empty.txt"], 4, "holds no model"),
        (["compare", ".", "."], 1, "has no report.json: it is not a run, or not finished"),
        (["show", "nowhere:preset"], 2, "cannot be imported: No module named 'nowhere'"),
    ],
)
def test_other_errors_end_with_their_own_code(recurra, tmp_path, words, code, said):
    (tmp_path / "empty.txt").write_text("")
    answer = recurra(*words)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err and answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.RunError("a lock\nis held"), 1, "recurra: a lock is held ("),
        (errors.ResourceError("disk"), 5, "recurra: disk ("),
        (MemoryError(), 5, "recurra: out of memory; give a smaller file"),
        (RuntimeError("[enforce] can't allocate memory"), 5, "recurra: out of memory"),
        (OSError(28, "No space left on device", "x"), 5, "No space left on device"),
        (OSError(13, "Permission denied", "x"), 1, "Permission denied"),
        (ZeroDivisionError("of 3"), 1, "unexpected ZeroDivisionError: of 3 ("),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_whatever_is_raised_ends_in_one_line(recurra, monkeypatch, error, code, said):
    def fail(words):
        raise error

    monkeypatch.setattr(cli, "_carry_out", fail)
    answer = recurra("doctor")
    assert answer.code == code
    assert said in answer.err and answer.err.count("\n") <= 1


def test_an_interruption_that_a_library_and_then_we_made_an_error_of_is_one(recurra, monkeypatch):
    """As what validates settings does, of what comes while its module is imported."""

    def fail(words):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except BaseException as error:
            raise errors.CheckpointError("config.json: cannot be imported") from error

    monkeypatch.setattr(cli, "_carry_out", fail)
    answer = recurra("compare")
    assert (answer.code, answer.err) == (143, "stopped\n")


@pytest.mark.parametrize(("before", "after"), [(0, 129), (5, 5)])
def test_a_signal_with_the_last_line_is_no_success(recurra, monkeypatch, before, after):
    """Its handler may never be called: the thread alone has heard of it, and said so."""

    def late(words, teller, interrupt):
        interrupt.signal = signal.SIGHUP
        return before

    monkeypatch.setattr(cli, "_interruptible", late)
    assert recurra("doctor").code == after


@pytest.mark.parametrize("place", [0, 2])
def test_debug_shows_the_traceback_wherever_it_stands(recurra, place):
    words = ["show", "ptb-sed"]
    words.insert(place, "--debug")
    with pytest.raises(errors.ConfigError):
        recurra(*words)


def through_a_closed_pipe(*words: str) -> subprocess.CompletedProcess[str]:
    shell = f'"{sys.executable}" -m recurra {" ".join(words)} | true; exit "${{PIPESTATUS[0]}}"'
    return subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["--help"], ["presets"], ["demo", "forward", "--json"]], ids=" ".join
)
def test_a_closed_stdout_is_quiet_and_exit_141(words):
    done = through_a_closed_pipe(*words)
    assert (done.returncode, done.stderr) == (141, "")


STREAMS = {
    ">&-": 0,
    "<&-": 0,
    "2>&-": 0,
    ">&- 2>&- <&-": 0,
    ">/dev/full": 5,
    "2>/dev/full": 0,
}


@pytest.mark.parametrize(("closed", "code"), STREAMS.items())
def test_streams_that_are_closed_or_full_are_nothing_unexpected(closed, code, tmp_path):
    word = "frain" if "2>/dev" in closed else "presets"  # what fails has something to say there
    shell = f'"{sys.executable}" -m recurra {word} {closed}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == (2 if word == "frain" else code)
    assert done.stderr == ("recurra: [Errno 28] No space left on device\n" if code else "")


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, text: str = "") -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    flush = write  # type: ignore[assignment]


@pytest.mark.usefixtures("knows_grammar")
def test_a_training_goes_on_where_its_log_lies_on_a_full_disk(recurra, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", Full())
        assert recurra("train", "kn2", "--data", "grammar", "--out", "run", "--json").code == 0
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", Full())
        answer = recurra("train", "kn2", "--data", "grammar", "--out", "run")
    assert answer.code == 5 and answer.err.count("\n") == 1


def test_what_a_terminal_cannot_show_is_escaped():
    code = (
        "import sys; sys.stdout.reconfigure(encoding='ascii')\n"
        "from recurra import cli; cli._carry_out(['--help'])\n"
        "print('caf\\u00e9 \\ud800')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == r"caf\xe9 \ud800"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("recurra tra", ["train"]),
        ("recurra train ptb-s", ["ptb-seed", "ptb-small"]),
        ("recurra show kn", ["kn1", "kn2", "kn3", "kn4", "kn5"]),
        ("recurra data f", ["fetch"]),
    ],
)
def test_the_shell_completes_commands_and_presets(capsys, monkeypatch, words, found):
    monkeypatch.setenv(cli.COMPLETING, "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit) as end:
        cli.main([])
    assert end.value.code == 0
    assert capsys.readouterr().out.split() == found


def test_completion_is_installed_for_a_shell(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "recurra", "--install-completion", "bash"],
        # what started the tests may be no shell, so that none would be found
        env=os.environ | {"HOME": str(tmp_path), UNASKED: "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "completion installed in" in done.stdout
    (script,) = (tmp_path / ".bash_completions").iterdir()
    assert cli.COMPLETING in script.read_text()


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("train", "a smaller batch helps: --set train.batch_size=N"),
        ("score", "give a smaller file, or divide it"),
        ("classify", "give a smaller file, or divide it"),
        ("forecast", "give a smaller file, or divide it"),
    ],
)
def test_the_advice_fits_the_command(recurra, monkeypatch, command, advice):
    def fail(words):
        raise MemoryError

    monkeypatch.setattr(cli, "_carry_out", fail)
    answer = recurra(command, "run", "file")
    assert (answer.code, answer.err) == (5, f"recurra: out of memory; {advice}\n")


def test_a_signal_while_an_error_is_explained_ends_the_command_as_any(recurra, monkeypatch):
    def explain(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(cli, "_explain", explain)
    assert recurra("train", "--learning-rat", "3").code == 143


def test_a_last_save_that_failed_is_told(recurra, monkeypatch):
    def stopped(words):
        current().raised, current().signal = True, signal.SIGTERM
        raise errors.ResourceError("the checkpoint of step 9 cannot be written")

    monkeypatch.setattr(cli, "_carry_out", stopped)
    answer = recurra("train")
    assert (answer.code, answer.err) == (
        143, "recurra: the checkpoint of step 9 cannot be written\n"
    )  # fmt: skip
