"""The papers' other translations: T1w to CT, T1w and PDw to T2w, TOF to CTA, FLAIR to T1w.

Of each there is YODA, whose samplers find its model by the contrasts, and two systems of the paper that reports it,
all with the same phantoms and as many slabs. Those of ``LONGER`` are trained three times as long besides, with a
further rival; of these the scores are shipped and not the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from yoda_nb import yoda
from yoda_nb.diffusion.system import System
from yoda_nb.training.rows import CURVE, RATES, Training, at_budget
from yoda_papers import backbones, bridge, resvit, selfrdb, syndiff

TITLE = "other translations of the five papers"
NETS = ()
BUDGETS = CURVE[0]  # of slabs, so that a model is of use and not only for comparison
SPACING = 2.0  # mm: vessels are lost at the 3 mm of the other rows
N_PHANTOMS = 48  # of three to four times their voxels
PAPER_OF = {"yoda": yoda, "selfrdb": selfrdb, "syndiff-paired": syndiff, "unet": backbones, "adm": backbones}
PAPER_OF |= {"bbdm": bridge, "palette": bridge, "resvit": resvit}


@dataclass(frozen=True)
class Translation:
    """What is made of what, where a paper does so, and which of its systems stand beside YODA here."""

    sources: tuple[str, ...]
    target: str
    reference: str
    rivals: tuple[str, ...]

    @property
    def told(self) -> str:
        return f"{'+'.join(self.sources)} to {self.target}"


TRANSLATIONS = {
    "ct": Translation(("T1w",), "CT", "YODA, Table III", ("selfrdb", "syndiff-paired")),
    "t2w": Translation(("T1w", "PDw"), "T2w", "YODA, Table II", ("selfrdb", "syndiff-paired")),
    "cta": Translation(("TOF",), "CTA", "Koch, Tables 3 and 4", ("unet", "adm")),
    "t1w": Translation(("FLAIR",), "T1w", "SKC-ISTA, Table 1", ("bbdm", "palette")),
}

LONGER = {"ct": ("selfrdb", "syndiff-paired", "resvit")}  # and YODA at CURVE[-1] budgets: all of YODA, Table III
# of longer trainings that fail at the shared rate: at 0.002 ResViT's CTs saturate after 2500 steps; its best trial's
LOWER = {"resvit": RATES[0]}


def named(system: str, translation: str) -> str:
    """The row of a system for one of ``TRANSLATIONS``."""
    return f"{system}-{translation}"


def _training(name: str, of: Translation, budgets: int = BUDGETS) -> Training:
    """A row's training for other contrasts. A bridge ends in the last source."""
    row = PAPER_OF[name].TRAININGS[name]
    n, config = len(of.sources), row.config
    options = tuple((key, n - 1 if key == "prior" else value) for key, value in config.options)
    rate = LOWER.get(name, config.lr) if budgets > BUDGETS else config.lr
    config = replace(
        config, net=replace(config.net, n_sources=n), options=options, steps=budgets * config.steps, lr=rate
    )
    return replace(
        row,
        title=f"{row.title}, {of.told}" + (f", {budgets} budgets" if budgets > BUDGETS else ""),
        config=config,
        sources=of.sources,
        target=of.target,
        phantoms={"spacing": SPACING},
        count=N_PHANTOMS,
        bits=8,
        variant=budgets > BUDGETS,
        chosen=name == "yoda" and budgets == BUDGETS,
    )


def _system(name: str, key: str, of: Translation) -> System:
    row = next(row for row in PAPER_OF[name].SYSTEMS if row.name == name)
    return replace(
        row,
        name=named(name, key),
        summary=f"{of.told}: {PAPER_OF[name].TRAININGS[name].title}",
        reference=f"{of.reference}; {row.reference}",
        weights=f"systems/{named(name, key)}",
    )


TRAININGS = {named(name, key): _training(name, of) for key, of in TRANSLATIONS.items() for name in ("yoda", *of.rivals)}
TRAININGS |= {
    at_budget(named(name, key), CURVE[-1]): _training(name, TRANSLATIONS[key], CURVE[-1])
    for key, rivals in LONGER.items()
    for name in ("yoda", *rivals)
}
SYSTEMS = tuple(_system(name, key, of) for key, of in TRANSLATIONS.items() for name in of.rivals)
