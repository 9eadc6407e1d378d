"""Evidence on lesions: a segmenter that has seen acquired images only, on every sampler's images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from yoda_nb.evidence.samplers import images
from yoda_nb.segmentation import lesion_table, segment

if TYPE_CHECKING:
    from yoda_nb.evidence import Study


def lesions(of: Study) -> pd.DataFrame:
    """``segmentation.lesion_table`` of Table I's samplers and the acquired image (Table I right, Fig. 4)."""
    return lesion_table(of.volumes, images(of, ddim=False), segment=segment)
