"""The systems that decide verdicts, on real scans: each is trained on half of the people and judged by the others.

At the budget and voxels of their rows, from nothing: what is compared is how they learn of few scans. A real scan has
no truth, so no verdict rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from yoda_nb.data.rows import person_of
from yoda_nb.images.volumes import Volume, required
from yoda_nb.study.real import along_line, real_scores, straight_line
from yoda_nb.study.sampling import progress_bar
from yoda_nb.systems.run import translate
from yoda_papers.yoda.budgets import deciding

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

SPACING = 3.0  # mm, of the phantoms that the rows learn from
LINE = "straight line"  # fitted to the scans that the systems learned from


def scores(study: Study, volumes: Sequence[Volume], models: Mapping[str, Mapping[str, str | Path]]) -> pd.DataFrame:
    """One row a scan and system: subject, person, system and ``real_scores``.

    ``models``: row of training -> person -> the model that never saw them.
    """
    entries, rows = deciding(study), []
    for v in progress_bar(iterable=volumes, desc="systems on scans"):
        person = person_of(v.subject)
        images = {}
        for row, files in models.items():
            entry, model = entries[row], files[person]
            made = translate(v, entry.system, model=model, device=study.device or None, **entry.settings)
            images[entry.label] = required(made, "target")
        files = next(iter(models.values()))
        images[LINE] = along_line(
            v, straight_line([o for o in volumes if files[person_of(o.subject)] != files[person]])
        )
        rows += [{"subject": v.subject, "person": person, "system": k, **real_scores(v, x)} for k, x in images.items()]
    return pd.DataFrame(rows)
