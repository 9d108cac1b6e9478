"""The command line. Commands import what they need when they run, so `--help` is quick."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from recurra.cli.console import say, saying_what_compiles
from recurra.cli.interrupt import Interrupt
from recurra.cli.learn import bench, mix, sweep, train
from recurra.cli.look import check, compare, data, demo, doctor, show
from recurra.cli.series import classify, forecast
from recurra.cli.streams import lenient
from recurra.cli.text import explain, score, write
from recurra.cli.usage import said_of
from recurra.cli.working import Teller
from recurra.errors import (
    CheckpointError,
    ConfigError,
    RecurraError,
    ResourceError,
    RunError,
    in_one_line,
    place_of,
    with_place,
)

__all__ = ["app", "main"]

_INTERRUPTED = 130
COMPLETING = "_RECURRA_COMPLETE"
"""Set by the shell's completion, which `--install-completion` installs."""

SPINS = "3000"
"""How often a waiting thread of libgomp looks again before it sleeps: some microseconds."""

app = typer.Typer(
    name="recurra",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than all else that help needs
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
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
app.command("check")(check.check)
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
    _open_what_is_closed()
    with lenient():
        return _ended(words)


def _ended(words: list[str]) -> int:
    """Carry out a command; return the exit code, whatever happened."""
    _wait_passively()
    teller = Teller(lambda now: interrupt.check())
    interrupt = Interrupt(teller.busy, teller.say)
    try:
        with interrupt:
            code = _interruptible(words, teller, interrupt)
    except KeyboardInterrupt:  # while an error was explained
        code = interrupt.exit_code
    # one that comes with the last line was said to stop the command
    return interrupt.exit_code if interrupt() and not code else code


def _interruptible(words: list[str], teller: Teller, interrupt: Interrupt) -> int:
    debug = "--debug" in words  # may stand anywhere
    try:
        with teller.listening():
            code = _carry_out([word for word in words if word != "--debug"])
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except KeyboardInterrupt:
        code = interrupt.exit_code if interrupt() else _INTERRUPTED
    except Exception as error:
        if debug:
            raise
        # an interruption may come out of other libraries as an error of theirs, or of ours then
        heeded = interrupt() and (interrupt.raised or not isinstance(error, RecurraError))
        if heeded and isinstance(error, ResourceError):
            say(f"recurra: {error}")  # the last save failed
        code = interrupt.exit_code if heeded else _explain(error, words)
    _flush_or_silence()
    return code


def _wait_passively() -> None:
    """Have torch's threads sleep soon while they wait, so that busy cores are left to who has work.

    They read it when torch is imported. What the environment says stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _carry_out(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a text may hold what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    command = typer.main.get_command(app)
    if COMPLETING in os.environ:  # the shell asks how a word may go on
        command.main(words, prog_name="recurra")
    try:
        with (
            command.make_context("recurra", words) as context,
            saying_what_compiles(),
            warnings.catch_warnings(),
        ):
            warnings.showwarning = _warn  # type: ignore[assignment]
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich ends the process on one
            raise end.__context__ from None
        raise
    return 0


def _warn(message: Warning | str, *rest: object) -> None:
    """Say a warning in one line, without the place in the program that it comes from."""
    say(f"warning: {message}")


def _explain(error: Exception, words: Sequence[str]) -> int:
    """Say in one line what went wrong; return the exit code."""
    from recurra.storage.folders import is_full

    if isinstance(error, RecurraError):
        say(f"recurra: {with_place(error)}{_consent(error, words)}")
        return error.exit_code
    if _is_out_of_memory(error):
        say(f"recurra: out of memory; {_less(words)}")
        return ResourceError.exit_code
    if isinstance(error, OSError):
        say(f"recurra: {error}")
        return ResourceError.exit_code if is_full(error) else RunError.exit_code
    if hasattr(error, "format_message"):  # a usage error
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "recurra"
        say(f"{command}: {said_of(error, words)} (see {command} --help)")
        return ConfigError.exit_code
    where = "" if place_of(error) else "; --debug shows where"
    say(f"recurra: unexpected {in_one_line(error)}{where}")
    return RunError.exit_code


def _less(words: Sequence[str]) -> str:
    """Return what takes less memory, of the command that ran out of it."""
    if words[0] == "train":
        return "a smaller batch helps: --set train.batch_size=N"
    return "give a smaller file, or divide it"


def _consent(error: RecurraError, words: Sequence[str]) -> str:
    """Return the command that lets a file name code of someone's own, where that is what lacks."""
    if not isinstance(error, CheckpointError) or error.needs is None:
        return ""
    given = ["--allow-import", error.needs]
    # After `--` stands nothing but arguments.
    words = [words[0], *given, *words[1:]] if "--" in words else [*words, *given]
    return f"; here: {shlex.join(['recurra', *words])}"


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:  # too slow to import for a question about it
        return isinstance(error, MemoryError)
    from recurra.machine import is_out_of_memory

    return is_out_of_memory(error)


def _open_what_is_closed() -> None:
    """Have a stream that was closed before the start, as by >&-, read and write nothing."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            place = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: its own
            os.set_inheritable(place, True)
            setattr(sys, name, os.fdopen(place, "w" if number else "r", encoding="utf-8"))


def _flush_or_silence() -> None:
    """Have Python find nothing left to flush as it exits, where that would fail."""
    with suppress(ValueError):
        try:
            sys.stdout.flush()
        except OSError:
            _silence_stdout()


def _silence_stdout() -> None:
    """Python flushes stdout once more as it exits; that must be quiet too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
