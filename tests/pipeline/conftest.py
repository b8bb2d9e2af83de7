"""A scorer that counts particles, for the stages around the filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartfilter.scoring import Scorer


@pytest.fixture(scope="session")
def scorer(count_model: Path) -> Scorer:
    return Scorer(count_model, device="cpu", threads=1)
