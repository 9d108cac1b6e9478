"""The wrappers: one a file, each found by name in WRAPPERS."""

from __future__ import annotations

from recurra.table import Table

__all__ = ["WRAPPERS"]

WRAPPERS = Table(
    "wrapper",
    {
        "stack": "recurra.nn.wrappers.stack:Stack",
        "bidirectional": "recurra.nn.wrappers.bidirectional:Bidirectional",
        "dropout": "recurra.nn.wrappers.dropout:Dropout",
        "residual": "recurra.nn.wrappers.residual:Residual",
        "weight_drop": "recurra.nn.wrappers.weight_drop:WeightDrop",
    },
)
"""Name -> wrapper class."""
