"""Findings of a lesson: a tick, a cross, and a failure where the project's own data are tested."""

from __future__ import annotations

import pytest

from yoda_nb import study
from yoda_nb.study.checks import STRICT


def test_a_cross_is_shown_and_fails_only_where_that_is_asked_for(monkeypatch, capsys):
    monkeypatch.delenv(STRICT, raising=False)
    assert study.check(1 < 2, "One is less.") and not study.check(float("nan") > 0, "It is positive.")
    assert capsys.readouterr().out == "✓ One is less.\n✗ Not found in this run: It is positive.\n"
    monkeypatch.setenv(STRICT, "1")
    assert study.check(True, "So it is.")
    with pytest.raises(AssertionError, match="not found here: It is positive"):
        study.check(False, "It is positive.")
