"""`recurra classify`: which class each sequence of a file belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.cli.console import Json, existing, print_json

__all__ = ["classify"]


def classify(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", callback=existing, help="The directory of a run.")
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", callback=existing, help="Sequences in .ts or CSV, labels or not."
        ),
    ],
    json: Json = False,
) -> None:
    """Print the label of each sequence in a file, one a line."""
    from recurra.labels.classifier import Classifier
    from recurra.labels.datasets.files import read_sequences

    classifier = Classifier.from_pretrained(run)
    sequences = read_sequences(file, classifier.network.input_size)
    if not json:
        typer.echo("\n".join(classifier.predict(sequences)))
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
