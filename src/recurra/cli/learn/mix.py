"""`recurra mix`: finished language models, and what is added to them, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Json,
    existing,
    print_json,
    print_lines,
    width,
)
from recurra.cli.places import place

if TYPE_CHECKING:
    from recurra.language.entry import LanguageRun, NgramRun
    from recurra.language.mixing import Mixed
    from recurra.language.models.base import LanguageModel
    from recurra.language.options import MixtureOptions
    from recurra.language.text.dataset import TextDataset

__all__ = ["mix"]


def mix(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", callback=existing, help="Runs, models or ARPA files."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", parser=place, help="Where the mixture is kept.")
    ],
    cache: Annotated[
        bool, typer.Option("--cache", help="Add a pointer cache over each network.")
    ] = False,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Add each network as it learns from what it reads.")
    ] = False,
    ngram: Annotated[
        int, typer.Option(min=0, max=5, metavar="N", help="Add n-grams of the training text.")
    ] = 0,
    unigram_cache: Annotated[
        bool,
        typer.Option("--unigram-cache", help="Add a cache of the words just read."),
    ] = False,
    buckets: Annotated[
        Literal["none", "previous"],
        typer.Option(help="Weights for all contexts, or by how rare the token before is."),
    ] = "none",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            callback=existing,
            help="The text to learn weights on; that of the first run by default.",
        ),
    ] = None,
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Mix language models of one vocabulary, by weights learned on validation."""
    from recurra.language.options import MixtureOptions
    from recurra.run.tasks import load_model
    from recurra.storage.sources import Unchanged
    from recurra.table import named_by_file

    _require_free(out)
    allowed = [*(allow_import or ()), *([] if data is None else [data])]
    options = MixtureOptions(
        cache=cache, dynamic=dynamic, order=ngram, unigram_cache=unigram_cache, buckets=buckets
    )
    with named_by_file(runs[0], allowed, Unchanged(runs[0])):
        models: dict[str, LanguageModel] = {
            name: load_model(run, "mix") for name, run in _named(runs).items()
        }
        first = _first_of_the_same(models)
        config = _config(runs[0], data)
        mixed = _learn(models, options, _dataset(config, first))
    _tell_and_keep(mixed, out, config, json=json)


def _learn(
    models: Mapping[str, LanguageModel], options: MixtureOptions, dataset: TextDataset
) -> Mixed:
    from recurra.language.mixing import Part, Scores, components, learn_mixture, ngram_parts
    from recurra.language.models.ngram import NgramModel
    from recurra.language.options import NgramOptions

    counted: Mapping[str, Part] = {}
    if options.order:
        given = dataset.ids("train"), NgramOptions(order=options.order)
        counted = ngram_parts(NgramModel.count(*given, dataset.vocabulary, dataset.rule))
    scores, out = Scores(dataset), dict[str, str]()
    parts = components(models, options, counted, scores, out)
    mixed = learn_mixture(parts, scores, options.buckets)
    return replace(mixed, left_out=out | mixed.left_out)


def _tell_and_keep(mixed: Mixed, out: Path, config: LanguageRun | NgramRun, *, json: bool) -> None:
    try:
        if json:
            print_json({"model": str(out), **_report(mixed)})
        else:
            print_lines(_tell(_report(mixed)))
    finally:  # told where it cannot be kept, and kept where no one reads
        mixed.model.save_pretrained(out, config=config.model_dump(mode="json"))
    if not json:
        print_lines(["", f"model  {out}"])


def _report(mixed: Mixed) -> dict[str, Any]:
    """Return what is told of a mixture, with what was left out of it if anything was."""
    return mixed.report | ({"left_out": mixed.left_out} if mixed.left_out else {})


def _first_of_the_same(models: Mapping[str, LanguageModel]) -> LanguageModel:
    """Return the first of the models, if they are of one vocabulary."""
    first = next(iter(models.values()))
    for name, model in models.items():
        _require_same(name, model, first)
    return first


def _require_free(out: Path) -> None:
    """Refuse, before anything is mixed, a place that is not free and holds no mixture alone."""
    from recurra.errors import CheckpointError, ConfigError
    from recurra.run.directory import RunDirectory
    from recurra.storage.outputs import require_folder, require_model
    from recurra.storage.pretrained import FACTS
    from recurra.storage.reading import read_json
    from recurra.storage.sealed import kind_in

    above = out.resolve().parent
    if RunDirectory(above).is_ours():
        raise ConfigError(f"{out} would lie in the run {above}; give another --out")
    if kind_in(out) is not None:
        try:
            mixture = read_json(out / FACTS)["kind"] == "mixture"
        except (CheckpointError, KeyError, TypeError):
            mixture = False
        if not mixture:
            raise ConfigError(f"{out} is there already and is no mixture; give another --out")
    require_model(out)
    require_folder(above, "--out")


def _named(runs: Sequence[Path]) -> dict[str, Path]:
    """Return each run once, by the last of its path that says anything, or by all of it."""
    places = {run.parent if run.name == "model" else run: None for run in map(Path.resolve, runs)}
    short = [place.name.partition(".arpa")[0] for place in places]
    return {
        name if short.count(name) == 1 else str(place): place for name, place in zip(short, places)
    }


def _require_same(name: str, model: LanguageModel, first: LanguageModel) -> None:
    from recurra.errors import ConfigError

    if (model.vocabulary, model.rule) != (first.vocabulary, first.rule):
        raise ConfigError(
            f"{name} has another vocabulary ({len(model.vocabulary):,} tokens by rule "
            f"{model.rule}) than the first model ({len(first.vocabulary):,} by {first.rule}); "
            "only models of one vocabulary can be mixed"
        )


def _config(run: Path, data: str | None) -> LanguageRun | NgramRun:
    """Return the config of a run, or of one that learns the text that is asked for."""
    from recurra.errors import ConfigError
    from recurra.language.entry import LanguageRun, NgramRun
    from recurra.run.session import config_of

    config = config_of(run)
    if not isinstance(config, LanguageRun | NgramRun):
        if data is None:
            raise ConfigError(f"{run} does not say what text it learned from; give --data")
        config = NgramRun(preset="mix")
    given = {} if data is None else {"corpus": data}
    return config.model_copy(update={"data": config.data.model_copy(update=given)})


def _dataset(config: LanguageRun | NgramRun, model: LanguageModel) -> TextDataset:
    """Return the text that a config names, numbered as the model knows it."""
    from recurra.language.text.dataset import TextDataset

    return TextDataset.open(config.data.model_copy(update={"rule": model.rule}), model.vocabulary)


def _tell(report: Mapping[str, Any]) -> list[str]:
    """Return the table of the parts, and what the mixture reaches."""
    from recurra.run.figures import figure, laid_out

    split = "test" if report["test"] is not None else "valid"
    words = {"test": "test", "valid": "validation"}[split]
    rows = [["", "weight", f"{words} perplexity", "without it"]]
    for name, part in report["parts"].items():
        rest = "-" if part["without"] is None else figure(part["without"])
        alone = figure(part[f"{split}_perplexity"])
        rows.append([name, f"{part['weight']:.3f}", alone, rest])
    rows.append(["mixture", "", figure(report[split]["perplexity"]), ""])
    lines = laid_out(rows, width())
    return [*lines, *(f"left out: {n} ({why})" for n, why in report.get("left_out", {}).items())]
