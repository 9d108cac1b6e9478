"""Forecasting: series, their baselines, and recurrent networks that must beat them."""
