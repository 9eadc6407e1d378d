"""What several tests of the study need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from yoda_nb.study.claims import evidence


@pytest.fixture
def empty_tables(tmp_path, monkeypatch) -> Iterator[Path]:
    """Another folder of shipped tables, empty."""
    tables = tmp_path / "tables"
    tables.mkdir()
    monkeypatch.setattr(evidence, "TABLES", tables)
    monkeypatch.setattr(evidence, "INDEX", tables / "index.json")
    caches = (evidence.index, evidence.outdated)
    for cached in caches:
        cached.cache_clear()
    yield tables
    for cached in caches:
        cached.cache_clear()
