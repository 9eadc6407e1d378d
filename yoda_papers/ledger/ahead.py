"""Sampling what a table will ask for, in several processes: each takes a share and leaves it in the bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor

from yoda_nb.errors import InputError, printable
from yoda_nb.images.volumes import Volume, required
from yoda_nb.systems.table import get_system
from yoda_nb.training.processes import in_workers
from yoda_papers.ledger.evidence import MAKERS, Study, read_shipped


@dataclass(frozen=True)
class Scout(Study):
    """A study that samples every n-th image alone, and gives the acquired one in place of the others."""

    share: tuple[int, int] = (0, 1)  # which, of how many
    asked: list[str] = field(default_factory=list, compare=False)

    def table(self, name: str) -> pd.DataFrame:
        return read_shipped(name)

    def samples(self, volume: Volume, system: str, **settings: Any) -> Tensor:
        self.asked.append(system)
        mine, n = self.share
        if len(self.asked) % n == mine:
            return super().samples(volume, system, **settings)
        known = {k: v for k, v in settings.items() if k not in ("model", "seed", "device")}
        count = get_system(system, **known).n_ex
        return required(volume, "target")[None].repeat(count, 1, 1, 1, 1)


def draw_ahead(name: str, study: Study, workers: int, say: Callable[[str], None] = print) -> None:
    """Fill the bank with the samples of a table, one share a process.

    What fails is told in a line and stops nothing: whoever makes the table meets it again, or draws what is missing.
    """
    about = (study.profile, study.seed, study.device, study.fresh)
    try:
        for error in in_workers(partial(_scouted, name, about, workers), range(workers), workers, option="--jobs"):
            if error:
                say(error)
    except InputError as error:
        say(f"{name}, sampled ahead: {error}")


def _scouted(name: str, about: tuple[str, int, str, bool], n: int, k: int) -> str:
    """Sample share k of n; returns what went wrong in a line, "" for nothing."""
    try:
        MAKERS[name](Scout(*about, share=(k, n)))
    except Exception as error:  # made-up images may be too strange for what the table measures
        return printable(f"{name}, sampled ahead by process {k + 1} of {n}: {type(error).__name__}: {error}")
    return ""
