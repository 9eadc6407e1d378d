"""What a lesson expects to find: a tick or a cross with a sentence, for findings that other data may not show."""

from __future__ import annotations

import os

STRICT = "YODA_NB_STRICT"  # set to 1: a cross is an error, as in the tests of the lessons on the project's own data


def check(condition: object, sentence: str) -> bool:
    """Print a tick before what was expected where it holds, else a cross; returns whether it holds.

    A cross says something about the data of this run and is no error, unless ``YODA_NB_STRICT`` is 1: AssertionError
    then. What is true of any data belongs into an assert instead.
    """
    holds = bool(condition)
    if not holds and os.environ.get(STRICT) == "1":
        raise AssertionError(f"not found here: {sentence}")
    print(f"✓ {sentence}" if holds else f"✗ Not found in this run: {sentence}")
    return holds
