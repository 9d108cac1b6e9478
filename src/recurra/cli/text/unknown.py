"""What is said of words that a model does not know, in a text that it goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recurra.cli.console import printable, say

if TYPE_CHECKING:
    from recurra.language.models.base import LanguageModel

__all__ = ["say_unknown"]

MOST_NAMED = 5


def say_unknown(model: LanguageModel, text: str, what: str, *, unfinished: bool = False) -> None:
    """Say which tokens of a text the model reads as `<unk>`; nothing where it knows all.

    Args:
        model: any language model.
        text: what it reads.
        what: the text is, as `"the prompt"`.
        unfinished: whether its last word may go on, so that nobody expects it to be known.
    """
    from recurra.language.use.sampling import tokens_of

    tokens = tokens_of(model, text)
    if unfinished and not text[-1:].isspace() and model.rule in ("split", "words"):
        tokens = tokens[:-1]
    unknown = [token for token in tokens if token not in model.vocabulary.ids]
    if not unknown:
        return
    named = list(dict.fromkeys(unknown))
    told = ", ".join(printable(token)[:40] for token in named[:MOST_NAMED])
    told += f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    say(
        f"warning: {len(unknown):,} of {len(tokens):,} tokens of {what} are outside the model's "
        f"vocabulary and read as <unk>: {told}"
    )
