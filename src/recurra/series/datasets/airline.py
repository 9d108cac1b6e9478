"""The airline passengers of Box and Jenkins."""

from __future__ import annotations

import numpy as np

from recurra.series.calendar.found import infer
from recurra.series.datasets.base import SeriesSource, Split
from recurra.series.panel import Panel, Series

__all__ = ["AirlineSource"]

PASSENGERS = """
112 118 132 129 121 135 148 148 136 119 104 118
115 126 141 135 125 149 170 170 158 133 114 140
145 150 178 163 172 178 199 199 184 162 146 166
171 180 193 181 183 218 230 242 209 191 172 194
196 196 236 235 229 243 264 272 237 211 180 201
204 188 235 227 234 264 302 293 259 229 203 229
242 233 267 269 270 315 364 347 312 274 237 278
284 277 317 313 318 374 413 405 355 306 271 306
315 301 356 348 355 422 465 467 404 347 305 336
340 318 362 348 363 435 491 505 404 359 310 337
360 342 406 396 420 472 548 559 463 407 362 405
417 391 419 461 472 535 622 606 508 461 390 432
"""


class AirlineSource(SeriesSource):
    """International airline passengers, in thousands a month, 1949 to 1960: 144 figures.

    The last twelve months are for the test, the twelve before for validation.

    Args:
        options: nothing in them changes the values.

    Source: Box & Jenkins 1976, "Time series analysis: forecasting and control", series G.

    Example:
        >>> from recurra.series.options import SeriesOptions
        >>> AirlineSource(SeriesOptions()).open().series[0].values[-1].item()
        432.0
    """

    split = Split(horizon=12, valid=12, test=12)

    def open(self) -> Panel:
        """Return the one series, by months."""
        months = np.arange("1949-01", "1961-01", dtype="datetime64[M]").astype("datetime64[ns]")
        values = np.array(PASSENGERS.split(), np.float64)
        return Panel((Series("airline", values, months),), ("y",), infer(months))
