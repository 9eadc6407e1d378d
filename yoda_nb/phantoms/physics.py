"""Spin physics: tissues, pulse sequences, and the signal that one gives under the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# T1 ms, T2 ms, proton density at 3 T (rounded from Stanisz 2005 and Wansapura 1999)
TISSUE_CONSTANTS = {
    "CSF": (4300.0, 2000.0, 1.00),
    "GM": (1350.0, 100.0, 0.82),
    "WM": (830.0, 72.0, 0.70),
    "lesion": (1350.0, 130.0, 0.85),
    # outside the brain; bone gives no signal at any of these echo times
    "bone": (300.0, 0.5, 0.20),
    "marrow": (550.0, 60.0, 0.75),
    "muscle": (1410.0, 50.0, 0.80),
    "fat": (380.0, 70.0, 0.95),
}
# Share of fat in the signal of the fat-fraction map FF. A brain has little free fat, so myelin-rich white
# matter plays fat's part, grey matter muscle's and CSF water's; a lesion has lost half of its myelin.
FAT = {"CSF": 0.02, "GM": 0.15, "WM": 0.80, "lesion": 0.40, "bone": 0.0, "marrow": 0.85, "muscle": 0.05, "fat": 0.95}


@dataclass(frozen=True)
class PulseSequence:
    """One MR sequence; times in ms, flip angle in degrees."""

    kind: str  # "spin-echo" | "gradient-echo" | "inversion-recovery"
    tr: float
    te: float
    ti: float = 0.0
    flip: float = 90.0


PROTOCOLS = {
    "a": {
        "T1w": PulseSequence("gradient-echo", tr=20, te=4, flip=28),
        "T2w": PulseSequence("spin-echo", tr=5000, te=95),
        "PDw": PulseSequence("spin-echo", tr=3000, te=15),
        "FLAIR": PulseSequence("inversion-recovery", tr=9000, te=125, ti=2400),
        "FF": PulseSequence("gradient-echo", tr=10, te=2, flip=3),  # last: it draws two images' noise
    },
    "b": {  # another scanner, for generalisation
        "T1w": PulseSequence("gradient-echo", tr=12, te=5, flip=20),
        "T2w": PulseSequence("spin-echo", tr=3500, te=80),
        "PDw": PulseSequence("spin-echo", tr=2200, te=20),
        "FLAIR": PulseSequence("inversion-recovery", tr=8000, te=105, ti=2250),
        "FF": PulseSequence("gradient-echo", tr=8, te=3, flip=4),
    },
}

# still tissue is saturated, blood comes in fresh
TOF = {
    "a": PulseSequence("gradient-echo", tr=22, te=3.5, flip=18),
    "b": PulseSequence("gradient-echo", tr=28, te=6.9, flip=25),
}
BLOOD = (1930.0, 150.0, 0.85)  # T1 ms, T2 ms, proton density


def rician(image: np.ndarray, sigma: float, noise: np.ndarray) -> np.ndarray:
    """Magnitude of an image (D,H,W) under complex noise (2,D,H,W) of deviation ``sigma`` [YODA eq. 1]."""
    return np.hypot(image + sigma * noise[0], sigma * noise[1])


def signal(tissue: tuple[float, float, float], sequence: PulseSequence) -> float:
    """``magnitude`` of one tissue as a number."""
    return float(magnitude(tissue, sequence))


def magnitude(tissue: Sequence[Any], sequence: PulseSequence) -> Any:
    """Magnitude signal of a tissue (T1 ms, T2 ms, PD; numbers or arrays of one shape), arbitrary units.

    Spin echo, spoiled gradient echo (Ernst) and inversion recovery in their textbook form, with
    T2* taken as T2 in the gradient echo.
    """
    t1, t2, density = tissue
    e1, e2 = np.exp(-sequence.tr / t1), np.exp(-sequence.te / t2)
    if sequence.kind == "spin-echo":
        return density * (1 - e1) * e2
    if sequence.kind == "gradient-echo":
        flip = np.deg2rad(sequence.flip)
        return density * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1) * e2
    return abs(density * (1 - 2 * np.exp(-sequence.ti / t1) + e1)) * e2
