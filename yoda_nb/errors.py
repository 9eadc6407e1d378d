"""What a user did that cannot work, or may be wrong, in one sentence."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """A user's input cannot be used; the message is one sentence: what, where, what to do.

    What is quoted in it may hold anything: line breaks and other invisible characters are escaped.
    """

    def __init__(self, message: str = ""):
        super().__init__(printable(message))


class Doubt(UserWarning):
    """Something about a user's input that may be wrong, in one sentence; the work goes on."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without Python's warnings of doubts, where what has them shows them in a way of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Doubt)
        yield


def printable(text: str) -> str:
    """Text as one line that can be written anywhere."""
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)
