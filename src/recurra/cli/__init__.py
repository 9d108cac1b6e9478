"""The command line. Commands import what they need when they run, so `--help` is quick."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import typer

from recurra.cli.console import say, saying_what_compiles
from recurra.cli.learn import bench, mix, train
from recurra.cli.look import compare, data, demo, doctor, show
from recurra.cli.series import classify, forecast
from recurra.cli.text import explain, score, write
from recurra.errors import ConfigError, RecurraError, ResourceError, RunError

__all__ = ["app", "main"]

COMPLETING = "_RECURRA_COMPLETE"
"""Set by the shell's completion, which `--install-completion` installs."""

SPINS = "1000"
"""How often a waiting thread of libgomp looks again before it sleeps: some microseconds."""

app = typer.Typer(
    name="recurra",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than all else that help needs
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("evaluate")(train.evaluate)
app.command("score")(score.score)
app.command("generate")(write.generate)
app.command("suggest")(write.suggest)
app.command("explain")(explain.explain)
app.command("mix")(mix.mix)
app.command("forecast")(forecast.forecast)
app.command("backtest")(forecast.backtest)
app.command("classify")(classify.classify)
app.command("compare")(compare.compare)
app.command("presets")(show.presets)
app.command("show")(show.show)
app.add_typer(data.app, name="data")
app.add_typer(demo.app, name="demo")
app.add_typer(bench.app, name="bench")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib.metadata

        typer.echo(f"recurra {importlib.metadata.version('recurra')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from, in full.")
    ] = False,
) -> None:
    """Recurrent networks end to end: train them, evaluate them, look into them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit code.

    Args:
        arguments: the words after `recurra`; by default those the process was started with.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    debug = "--debug" in words  # may stand anywhere
    _wait_passively()
    try:
        code = _carry_out([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if debug:
            raise
        return _explain(error, words)


def _wait_passively() -> None:
    """Have torch's threads sleep soon while they wait, so that busy cores are left to who has work.

    They read it when torch is imported. What the environment says stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _carry_out(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a text may hold what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(app)
    if COMPLETING in os.environ:  # the shell asks how a word may go on
        command.main(words, prog_name="recurra")
    try:
        with command.make_context("recurra", words) as context, saying_what_compiles():
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich ends the process on one
            raise end.__context__ from None
        raise
    return 0


def _explain(error: Exception, words: Sequence[str]) -> int:
    """Say in one line what went wrong; return the exit code."""
    from recurra.storage.folders import is_full

    if isinstance(error, RecurraError):
        say(f"recurra: {error}")
        return error.exit_code
    if _is_out_of_memory(error):
        say("recurra: out of memory; a smaller batch helps: --set train.batch_size=N")
        return ResourceError.exit_code
    if isinstance(error, OSError):
        say(f"recurra: {error}")
        return ResourceError.exit_code if is_full(error) else RunError.exit_code
    if hasattr(error, "format_message"):  # a usage error
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "recurra"
        said = _as_setting(error, words) or error.format_message()
        say(f"{command}: {said} (see {command} --help)")
        return ConfigError.exit_code
    say(f"recurra: unexpected {type(error).__name__}: {error}; --debug shows where")
    return RunError.exit_code


def _as_setting(error: Any, words: Sequence[str]) -> str | None:
    """Return what to write where `train` was given a setting as if it were an option."""
    option = getattr(error, "option_name", None)
    if not option or error.ctx.info_name != "train":
        return None
    from recurra.learning.config import settings
    from recurra.run.presets import PRESETS, preset

    chosen = next((word for word in words if word in list(PRESETS)), "docstrings")
    name = option.lstrip("-").replace("-", "_")
    for key in settings(preset(chosen)):
        if name == key.rpartition(".")[2] != key:
            for word, after in pairwise([*words, "VALUE"]):
                given, _, value = word.partition("=")
                if given == option:
                    return f"No such option: {option}; give --set {key}={value or after}"
    return None


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:  # too slow to import for a question about it
        return isinstance(error, MemoryError)
    from recurra.machine import is_out_of_memory

    return is_out_of_memory(error)


def _silence_stdout() -> None:
    """Python flushes stdout once more as it exits; that must be quiet too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
