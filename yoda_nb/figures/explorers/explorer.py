"""The explorer that the functions of this package return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yoda_nb.figures.explorers import display, page
from yoda_nb.figures.explorers.core import Content


@dataclass(frozen=True)
class Explorer(Content):
    """``show`` it in a notebook, ``save`` it as a page, or get its live ``widget``."""

    def widget(self):
        """A new live widget; its trait ``state`` holds and takes the controls' values."""
        return display.front_of(self)

    def show(self, *, alt: str, caption: str = "") -> None:
        """Display it: the live widget, or in a report what becomes a live part of its page.

        ``alt`` describes the static picture, which readers without JavaScript or kernel see.
        """
        display.show(self, alt=alt, caption=caption)

    def save(self, path: str | Path, *, alt: str, caption: str = "") -> None:
        """Write one self-contained HTML page that needs no kernel and no network."""
        page.save([(self, alt, caption)], path)
