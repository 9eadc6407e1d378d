"""The look of a target: what a site chooses and the sources do not show [SKC-ISTA 2.2]."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from yoda_nb.errors import InputError
from yoda_nb.phantoms.physics import PulseSequence

SPREAD = np.array([0.15, 0.05, 0.25])  # of log TE, log TI and log gamma from subject to subject, times ``style``
# Two scanners: factors of TE and TI, and the gamma of the images. "a" is the brighter and flatter one.
SCANNERS = {"a": (1.0, 1.0, 0.6), "b": (0.85, 1.0, 1.6)}
LOOKS = ("own", *SCANNERS, "either")


def check_look(look: str) -> None:
    """InputError for a look that is none."""
    if look not in LOOKS:
        raise InputError(f"Phantom look {look!r} is unknown: choose one of {', '.join(LOOKS)}.")


def styled(
    sequence: PulseSequence, style: float, look: str, rng: np.random.Generator
) -> tuple[PulseSequence, float, str]:
    """A site's choice of a sequence: the sequence, the gamma of its images, and the look's name.

    With look "own" every subject has a site of its own, around the protocol. With "either" it was at one
    of two scanners, drawn evenly; "a" and "b" name one, and then the subject's departure from that
    scanner's look is the same on both. ``style`` is how far subjects depart (``SPREAD``).
    """
    if look != "own":
        drawn = str(rng.choice(list(SCANNERS)))
        look = drawn if look == "either" else look
    te, ti, gamma = np.exp(style * rng.normal(0, SPREAD)) * SCANNERS.get(look, (1.0, 1.0, 1.0))
    return replace(sequence, te=sequence.te * te, ti=sequence.ti * ti), float(gamma), look
