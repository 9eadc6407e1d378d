"""Profiles of the notebooks."""

from __future__ import annotations

import pytest

from yoda_nb import study
from yoda_nb.errors import InputError


def test_profiles_grow():
    tiny, quick, full = (study.get_profile(name) for name in ("tiny", "quick", "full"))
    assert tiny.evidence <= quick.evidence <= full.evidence and tiny.n_steps < quick.n_steps < full.n_steps
    assert set(quick.ddim) <= set(quick.sweep), "the evidence holds every image that a notebook shows"
    with pytest.raises(InputError, match="medium"):
        study.get_profile("medium")
