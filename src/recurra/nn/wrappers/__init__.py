"""The wrappers: one a file, each found by name in WRAPPERS."""

from __future__ import annotations

from recurra.table import Table

__all__ = ["WRAPPERS"]

WRAPPERS = Table(
    "wrapper",
    {
        "stack": "recurra.nn.wrappers.stack:Stack",
        "bidirectional": "recurra.nn.wrappers.bidirectional:Bidirectional",
        "reversed": "recurra.nn.wrappers.reversed:Reversed",
        "dropout": "recurra.nn.wrappers.dropout:Dropout",
        "residual": "recurra.nn.wrappers.residual:Residual",
        "weight_drop": "recurra.nn.wrappers.weight_drop:WeightDrop",
        "projection": "recurra.nn.wrappers.projection:Projection",
        "highway": "recurra.nn.wrappers.highway:Highway",
        "reset": "recurra.nn.wrappers.reset:Reset",
        "trainable_state": "recurra.nn.wrappers.trainable_state:TrainableState",
        "attention": "recurra.nn.wrappers.attention:Attention",
        "mogrifier": "recurra.nn.wrappers.mogrifier:Mogrifier",
        "zoneout": "recurra.nn.wrappers.zoneout:Zoneout",
        "dilated": "recurra.nn.wrappers.dilated:Dilated",
    },
)
"""Name -> wrapper class."""
