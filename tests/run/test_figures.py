"""Figures with the places one reads, and tables of them."""

from __future__ import annotations

import pytest

from recurra.run.figures import figure, laid_out, shown, table, words


def test_the_squared_error_has_the_absolute_one_beside_it():
    rows = [("etth1", {"mase": 0.9, "mse": 0.3514, "mae": 0.3901})]
    heading, row = table("series", "mse", "test", rows)
    assert heading.split()[:3] == ["test", "MSE", "MAE"]
    assert row.split()[:3] == ["etth1", "0.351", "0.390"]


def test_a_column_that_no_system_has_is_left_out():
    rows = [("mine", {"perplexity": 80.0, "bits_per_char": 1.2}), ("kn5", {"perplexity": None})]
    assert table("language", "perplexity", "", rows) == [
        "           perplexity  bits per char",
        "mine            80.00         1.2000",
        "kn5          overflow       overflow",
    ]


def test_an_interval_is_one_column():
    known = {"perplexity": 80.0, "perplexity_low": 78.04, "perplexity_high": 101.26}
    rows = [("mine", known), ("kn5", {"perplexity": 141.2})]
    assert table("language", "perplexity", "test", rows) == [
        "      test perplexity   95% interval",
        "mine            80.00  78.04 - 101.3",
        "kn5             141.2              -",
    ]


def test_words():
    assert words("coverage_95") == "coverage 95"


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("perplexity", None, "overflow"),
        ("nats_per_token", None, "overflow"),
        ("nats_per_token", 5.0, "5.0000"),
        ("mase", None, "-"),
        ("mase", 0.8424, "0.842"),
        ("smape", 13.9124, "13.912"),
        ("rmse", 123.456, "123.5"),
        ("rmse", 0.0014321, "0.00143"),
        ("rmse", 2.5e12, "2.50e+12"),
        ("accuracy", 1.0, "1.000"),
        ("accuracy", 0.05, "0.050"),
        ("coverage_95", 0.95, "0.950"),
        ("series", 414, "414"),
        ("tokens", 82_430, "82,430"),
    ],
)
def test_metrics_have_the_places_one_reads(metric, value, text):
    assert shown(metric, value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.1234, "7.12"),
        (99.99, "99.99"),
        (100.04, "100.0"),
        (10_000, "10,000.0"),
        (None, "overflow"),
        (float("inf"), "overflow"),
        (float("nan"), "overflow"),
    ],
)
def test_figures_have_the_places_one_reads(value, text):
    assert figure(value) == text
    assert figure(2.0, 4) == "2.0000"


def test_a_table_of_too_many_columns_drops_the_last_and_names_them():
    rows = [["", "MASE", "sMAPE", "RMSE"], ["runs/a-long-name", "0.98", "12.10", "1,234.5"]]
    assert laid_out(rows, 26) == [
        "                  MASE",
        "runs/a-long-name  0.98",
        "not shown: sMAPE, RMSE",
    ]
    assert laid_out(rows, 30)[1] == "runs/a-long-name  0.98  12.10"
    assert laid_out(rows)[1] == "runs/a-long-name  0.98  12.10  1,234.5"


def test_a_name_too_long_for_a_line_is_cut_where_it_says_least():
    rows = [["", "MASE"], ["runs/a-long-name", "0.98"]]
    assert laid_out(rows, 16) == ["            MASE", "\u2026long-name  0.98"]
    assert max(map(len, laid_out(rows, 4))) == 14  # no name is cut to less than eight
