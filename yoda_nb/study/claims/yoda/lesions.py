"""Lesions: a segmenter that has seen acquired images only, on every sampler's images (seed 000, Table I, Fig. 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from yoda_nb.metrics.segmentation import agreement, lesion_table, segment
from yoda_nb.study.claims.verdicts import MARGINS, Effect, paired_effect
from yoda_nb.study.claims.yoda.samplers import images

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study


SUBJECTS = 30  # of what regression alone answers


def lesions(study: Study) -> pd.DataFrame:
    """``segmentation.lesion_table`` of Table I's samplers and the acquired image (Table I right, Fig. 4)."""
    return lesion_table(study.volumes, images(study, ddim=False), segment=segment)


def lesion_volumes(study: Study) -> pd.DataFrame:
    """The same of regression alone, on thirty subjects."""
    volumes = study.more(SUBJECTS)
    regression = [study.samples(v, "yoda-regression")[0] for v in volumes]
    return lesion_table(volumes, {"regression": regression}, segment=segment)


def smooth_segments_better(study: Study) -> list[Effect]:
    """Y23: regression and the largest ExpA over diffusion, in overlap and in volume."""
    t = study.table("lesions")
    smooth = ("regression", f"ExpA {max(study.settings.n_ex)}")
    return [
        effect
        for label in smooth
        for effect in (
            paired_effect(t, "dice", label, "diffusion", ">"),
            paired_effect(t, "alvr", label, "diffusion", "<", unit="doublings"),
        )
    ]


def contrast_kept(study: Study) -> list[Effect]:
    """Y24: contrast as a share of the noise-free truth's, and the CNR of eq. 12.

    The CNR divides by local noise, so noise alone lowers it; the contrast tells what is left of
    the lesions themselves.
    """
    t = study.table("lesions")
    true = t[t.sampler == "truth"].set_index("subject").contrast
    share = t.assign(contrast=100 * t.contrast / t.subject.map(true))
    unit = "% of the true contrast"
    return [
        paired_effect(
            share,
            "contrast",
            "regression",
            "truth",
            "within",
            10,
            unit=unit,
            name="lesion contrast, regression less truth",
        ),
        paired_effect(
            share,
            "contrast",
            "diffusion",
            "regression",
            "<",
            unit=unit,
            name="lesion contrast, diffusion less regression",
        ),
        paired_effect(t, "cnr", "diffusion", "regression", "<"),
    ]


def as_good_as_acquired(study: Study) -> list[Effect]:
    """Y25: not worse than acquired by more than the margin (a gain counts as "as well")."""
    t = study.table("lesion_volumes")
    return [
        paired_effect(t, "dice", "regression", "acquired", ">", -MARGINS["dice"]),
        paired_effect(t, "alvr", "regression", "acquired", "<", MARGINS["alvr"], unit="doublings"),
    ]


def volumes_agree(study: Study) -> list[Effect]:
    """Y26: ICC(3,1) of logit volume fractions, synthetic against acquired."""
    found = agreement(study.table("lesion_volumes"), "regression")
    return [
        Effect(
            "ICC(3,1) of logit lesion volumes",
            found["icc"],
            found["ci_low"],
            found["ci_high"],
            int(found["n"]),
            ">",
            0.9,
            "",
            "ICC from two-way ANOVA, F interval",
        )
    ]


TABLES = {"lesions": lesions, "lesion_volumes": lesion_volumes}


EFFECTS = {"Y23": smooth_segments_better, "Y24": contrast_kept, "Y25": as_good_as_acquired, "Y26": volumes_agree}
NOTES: dict[str, str] = {
    "Y24": "White matter within three voxels of a lesion, as the paper's 3 mm at 1 mm. At 3 mm a lesion is a few "
    "voxels wide.",
    "Y25": "Smoothness is not the cause: the noise-free truth is segmented as well as the acquired image. What the "
    "synthetic images lack is lesion contrast. Lesions of 3 mm voxels, a few voxels wide.",
    "Y26": "Volumes of lesions that are a few voxels of 3 mm wide; those of regression are too small.",
}
