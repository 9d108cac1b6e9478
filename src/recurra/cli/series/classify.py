"""`recurra classify`: which class each sequence of a file belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recurra.cli.console import (
    AllowChangedSource,
    AllowImport,
    Json,
    Run,
    existing,
    print_json,
    print_text,
    printable,
    say,
)

if TYPE_CHECKING:
    from recurra.labels.classifier import Classifier

__all__ = ["classify"]


def classify(
    run: Run,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", callback=existing, help="Sequences in .ts, ARFF or CSV, labels or not."
        ),
    ],
    allow_import: AllowImport = None,
    allow_changed_source: AllowChangedSource = False,
    json: Json = False,
) -> None:
    """Print the label of each sequence in a file, one a line."""
    from recurra.labels.datasets.files import read_sequences
    from recurra.run.tasks import load_model

    classifier: Classifier = load_model(run, "classify", allow_import=allow_import or ())
    network = classifier.network
    found = read_sequences(file, network.input_size, classifier.classes, classifier.steps)
    for note in found.notes:
        say(note)
    sequences = found.sequences
    if not json:
        print_text("\n".join(map(printable, classifier.predict(sequences))))
        return
    probabilities = classifier.predict_proba(sequences)
    print_json(
        {
            "classifications": [
                {
                    "label": classifier.classes[int(row.argmax())],
                    "probabilities": dict(zip(classifier.classes, row.tolist())),
                }
                for row in probabilities
            ]
        }
    )
