"""Signals of pulse sequences: closed forms, limits, and what radiologists know."""

from __future__ import annotations

from dataclasses import replace
from math import cos, exp, log, radians, sin

import numpy as np
import pytest

from yoda_nb.phantoms.physics import PROTOCOLS, TISSUE_CONSTANTS, PulseSequence, signal

T1, T2, PD = TISSUE = (1000.0, 80.0, 0.75)


def test_spin_echo():
    expected = PD * (1 - exp(-2500 / T1)) * exp(-90 / T2)
    assert signal(TISSUE, PulseSequence("spin-echo", tr=2500, te=90)) == pytest.approx(expected)
    assert signal(TISSUE, PulseSequence("spin-echo", tr=1e9, te=0)) == pytest.approx(PD)


def test_gradient_echo():
    e1, angle = exp(-15 / T1), radians(20)
    expected = PD * exp(-5 / T2) * sin(angle) * (1 - e1) / (1 - e1 * cos(angle))
    assert signal(TISSUE, PulseSequence("gradient-echo", 15, 5, flip=20)) == pytest.approx(expected)
    # at 90 degrees it is a saturation recovery, that is a spin echo
    ninety = signal(TISSUE, PulseSequence("gradient-echo", 500, 10, flip=90))
    assert ninety == pytest.approx(signal(TISSUE, PulseSequence("spin-echo", 500, 10)))


def test_gradient_echo_is_largest_at_the_ernst_angle():
    flips = np.arange(1, 90, 0.25)
    values = [signal(TISSUE, PulseSequence("gradient-echo", 20, 0, flip=f)) for f in flips]
    assert flips[np.argmax(values)] == pytest.approx(np.degrees(np.arccos(exp(-20 / T1))), abs=0.2)


def test_inversion_recovery():
    expected = PD * abs(1 - 2 * exp(-700 / T1) + exp(-6000 / T1)) * exp(-100 / T2)
    assert signal(TISSUE, PulseSequence("inversion-recovery", 6000, 100, ti=700)) == pytest.approx(expected)
    null = PulseSequence("inversion-recovery", tr=1e9, te=0, ti=T1 * log(2))
    assert signal(TISSUE, null) == pytest.approx(0, abs=1e-12)
    # long after the inversion it is a spin echo, and right after it the whole magnitude
    assert signal(TISSUE, replace(null, ti=1e8)) == pytest.approx(PD)
    assert signal(TISSUE, replace(null, ti=0)) == pytest.approx(PD)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_contrasts_look_as_radiologists_know_them(protocol):
    seen = {
        name: {t: signal(c, sequence) for t, c in TISSUE_CONSTANTS.items()}
        for name, sequence in PROTOCOLS[protocol].items()
    }
    t1w, t2w, flair = seen["T1w"], seen["T2w"], seen["FLAIR"]
    assert t1w["WM"] > t1w["GM"] > t1w["CSF"]
    assert t2w["CSF"] > t2w["lesion"] > t2w["GM"] > t2w["WM"]
    assert flair["lesion"] > flair["GM"] > flair["WM"] > 3 * flair["CSF"]
