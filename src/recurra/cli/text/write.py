"""`recurra generate` and `recurra suggest`: a language model goes on with a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Json,
    Run,
    print_json,
    print_text,
    printable,
    say,
)
from recurra.cli.text.unknown import say_unknown

if TYPE_CHECKING:
    from recurra.language.models.base import LanguageModel
    from recurra.language.use.sampling import How

__all__ = ["generate", "suggest"]


def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What the text begins with.")] = "",
    tokens: Annotated[int, typer.Option(min=0, metavar="N", help="Most tokens to write.")] = 100,
    temperature: Annotated[
        float, typer.Option(metavar="T", help="Below 1 prefers what is likely; 0: the likeliest.")
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(metavar="K", help="Draw from the K likeliest tokens.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(metavar="P", help="Draw from the likeliest that make up P.")
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(metavar="P", help="Draw from those P times as likely as the likeliest."),
    ] = None,
    beam: Annotated[
        int | None, typer.Option(metavar="N", help="Search for the likeliest with N hypotheses.")
    ] = None,
    stop: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="End before this; may be repeated.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, metavar="N", help="How many texts.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 1,
    allow_unk: Annotated[bool, typer.Option("--allow-unk", help="Let <unk> be written.")] = False,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Write text that goes on from a prompt."""
    from recurra.language.use import decoding
    from recurra.run.tasks import load_model

    how: How = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "beam": beam,
        "stop": stop or (),
        "allow_unk": allow_unk,
    }
    decoding.Decoding(**how)  # what is wrong is said before a large model is read
    model: LanguageModel = load_model(run, "generate", allow_import=allow_import or ())
    say_unknown(model, prompt, "the prompt")
    if samples == 1 and not json:
        for piece in decoding.stream(model, tokens, prompt=prompt, seed=seed, **how):
            print_text(piece, end="")
        print_text("")
        return
    texts = decoding.generate_many(model, samples, tokens, prompt=prompt, seed=seed, **how)
    if json:
        print_json({"prompt": prompt, "text": texts[0], "samples": texts})
        return
    for number, text in enumerate(texts, 1):
        print_text(f"--- {number}\n{text}")


def suggest(
    run: Run,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="What was written; without a space, in a word.")
    ] = "",
    top: Annotated[int, typer.Option(metavar="N", help="Most suggestions.")] = 5,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Print the likeliest next words, or how the last one may go on where no space ends it."""
    from recurra.language.use import decoding
    from recurra.run.tasks import load_model

    model: LanguageModel = load_model(run, "suggest", allow_import=allow_import or ())
    say_unknown(model, text, "the text", unfinished=True)
    found = decoding.suggest(model, text, top)
    if json:
        print_json({"suggestions": [each._asdict() for each in found]})
        return
    for word, probability in found:
        print_text(f"{probability:8.4f}  {printable(word)}")
    if not found:
        say("no word that the model knows begins so")
