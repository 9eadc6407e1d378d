"""Verdicts on the papers' other translations. What has longer trainings is judged by them alone (``longest``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from yoda_papers.ledger.verdicts import MARGINS, Effect, paired_effect
from yoda_papers.translations.tables import ELSEWHERE, N_EX, longest, of, with_more

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


def _better(t: pd.DataFrame, a: str, others: tuple[str, ...], metrics: Mapping[str, str]) -> list[Effect]:
    """a over each of the others: metric -> unit, higher is better."""
    return [
        paired_effect(t, m, a, b, ">", unit=unit, name=_named(m, a, b)) for b in others for m, unit in metrics.items()
    ]


WORDS = {"ssim": "SSIM", "psnr": "PSNR", "bone_dice": "Dice of bone", "grain": "grain", "mae_hu_bone": "error in bone"}
WORDS |= {"ssim_angio": "SSIM", "psnr_angio": "PSNR", "mae_angio": "mean absolute error"}


def _named(metric: str, a: str, b: str) -> str:
    return f"{WORDS[metric]}, {a} less {b}"


IMAGE = {"ssim": "", "psnr": "dB"}


def ct_by_regression(study: Study) -> list[Effect]:
    """Y31: SSIM and PSNR higher than diffusion's to the acquired CT; Dice of bone alike, within the metric's margin."""
    t = longest(study, "ct")
    pair = ("regression", "diffusion")
    bone = paired_effect(t, "bone_dice", *pair, "within", MARGINS["dice"], name=_named("bone_dice", *pair))
    return [*_better(t, "regression", ("diffusion",), IMAGE), bone]


def ct_over_rivals(study: Study) -> list[Effect]:
    """Y32: SSIM, PSNR and Dice of bone higher than those of all three rivals, or of those that are here."""
    t = longest(study, "ct")
    here = tuple(rival for rival in ("SelfRDB", "SynDiff", "ResViT") if rival in set(t["sampler"]))
    return _better(t, "regression", here, IMAGE | {"bone_dice": ""})


def ct_texture(study: Study) -> list[Effect]:
    """Y33: diffusion has grain that regression lacks, averaging takes it away, and it is farther from the truth.

    Grain of soft tissue in HU; error in bone, whose density no MR image tells, to the noise-free CT.
    """
    t, mean = longest(study, "ct", reference="truth"), f"ExpA {N_EX}"
    judged = (
        ("grain", "diffusion", "regression", ">"),
        ("grain", mean, "diffusion", "<"),
        ("mae_hu_bone", "diffusion", "regression", ">"),
    )
    return [paired_effect(t, m, a, b, rule, unit="HU", name=_named(m, a, b)) for m, a, b, rule in judged]


def t2w_by_regression(study: Study) -> list[Effect]:
    """Y34: SSIM and PSNR higher than those of diffusion and of both rivals that are here."""
    return _better(with_more(study, "t2w"), "regression", ("diffusion", "SelfRDB", "SynDiff"), IMAGE)


def _angiograms(t: pd.DataFrame, a: str, b: str) -> list[Effect]:
    """SSIM and PSNR of a higher than b's, its error lower, in the window of Koch."""
    higher = _better(t, a, (b,), {"ssim_angio": "", "psnr_angio": "dB"})
    return [*higher, paired_effect(t, "mae_angio", a, b, "<", unit="HU", name=_named("mae_angio", a, b))]


def cta_at_home(study: Study) -> list[Effect]:
    """K09: the U-Net over ADM on phantoms of the scanner of training."""
    return _angiograms(with_more(study, "cta"), "U-Net", "ADM")


def cta_elsewhere(study: Study) -> list[Effect]:
    """K10: ADM over the U-Net on phantoms of another site's scanner."""
    return _angiograms(of(study, "cta", ELSEWHERE), "ADM", "U-Net")


def t1w_by_bridge(study: Study) -> list[Effect]:
    """B06: the bridge with average key and ISTA over Palette; NRMSE is PSNR by another name."""
    return _better(of(study, "t1w"), "bridge", ("Palette",), IMAGE)


EFFECTS = {
    "Y31": ct_by_regression,
    "Y32": ct_over_rivals,
    "Y33": ct_texture,
    "Y34": t2w_by_regression,
    "K09": cta_at_home,
    "K10": cta_elsewhere,
    "B06": t1w_by_bridge,
}
_AT_T = (
    "One training each of 192,000 slabs (12 budgets). At t = T, where regression takes its image, a net that predicts "
    "v leaves a grain of 15 HU of the noise that it starts from, 0.5 % of the CT's window (25 HU after a third of the "
    "training). The ten steps of a sample remove it. "
)
NOTES = {
    "Y31": _AT_T
    + (
        "After a third of the training regression was "
        "behind a sample (SSIM by 0.012). Twelve subjects, a number that was stated beforehand, left SSIM and PSNR "
        "open. With thirty, PSNR and bones are decided, and SSIM differs by {SSIM, regression less diffusion:.4f}."
    ),
    "Y32": _AT_T
    + (
        "Regression is ahead of SynDiff and ResViT in "
        "all three scores, and of SelfRDB in PSNR and bones but not in SSIM. After a third of the training it was "
        "behind SelfRDB and SynDiff in SSIM. Its error in soft tissue is 31 HU, that of SelfRDB 12. ResViT has the "
        "rate of its best trial (0.0007): at the shared rate its images saturate."
    ),
    "Y33": _AT_T
    + (
        "An acquisition has 14 HU, a sample 10. Two "
        "parts are reproduced: averaging removes grain, and the bones of a sample are farther from the truth."
    ),
    "Y34": (
        "Decided with thirty subjects; six left it open. Regression is ahead of SelfRDB in SSIM and behind it in "
        "PSNR, also against the noise-free truth. It is ahead of a sample and of SynDiff in both."
    ),
    "K09": (
        "SSIM is decided with thirty subjects; six left it open. No extractor was trained on CTA, so no Fréchet "
        "distance is measured. ADM's vessels are as good as the U-Net's."
    ),
    "K10": (
        "The scanner of the other site has another flip angle, echo time, inflow and contrast agent. Nothing is badly"
        " registered or cut off, which the paper names as the problem of its external set."
    ),
    "B06": "One training each of 64,000 slabs; Palette has 25 steps here, 1000 in the paper.",
}
