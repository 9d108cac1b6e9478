"""Comparisons that take minutes, each by a name: what `recurra bench` offers."""

from __future__ import annotations

__all__ = ["BENCHES"]

BENCHES = {
    "cells": "recurrent cells at equal parameters: accuracy, speed and memory on five tasks",
}
"""Name -> what it compares, in a line."""
