"""Effects of backbones and samplers (Koch). Rules and margins were set before any table was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from yoda_papers.backbones import LONGEST, STATED, convergence, patches
from yoda_papers.backbones.sweep import KINDS, MEASURED, TITLES
from yoda_papers.ledger.draws import by_eye
from yoda_papers.ledger.verdicts import MARGINS, Effect, bootstrap_effect, mean_effect, paired_effect

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

BACKBONES = ("adm", "uvit", "dit")
# of steps, by nets that have learned: what they are called, and their table
SWEEPS = {"adm": ("ADM", "backbones_fd"), "uvit": (f"U-ViT of {LONGEST} budgets", "backbones_long")}


def _acquired(study: Study) -> pd.DataFrame:
    t = study.table("backbones")
    return t[t.reference == "acquired"]


def _most(t: pd.DataFrame) -> int:
    return int(t.n_steps.max())


def _label(name: str, kind: str, n: int) -> str:
    return f"{TITLES[name]} {kind} {n}"


def _of_fd(
    study: Study,
    name: str,
    statistic: Callable[[pd.DataFrame], pd.Series],
    rule: str,
    unit: str = "",
    table: str = "backbones_fd",
) -> list[Effect]:
    """A statistic of Fréchet distances (draw, label), draw 0 all subjects, by every extractor."""
    subjects = study.count(MEASURED[table])

    def found(rows: pd.DataFrame) -> Effect:
        each = statistic(rows.pivot(index="draw", columns="sampler", values="fd"))
        return bootstrap_effect(name, each.iloc[0], each.iloc[1:], subjects, rule, unit=unit)

    return by_eye(study.table(table), found)


def _fd_less(study: Study, a: str, b: str) -> list[Effect]:
    return _of_fd(study, f"FD, {a} less {b}", lambda fd: fd[a] - fd[b], ">")


def unet_scores_diffusion_looks(study: Study) -> list[Effect]:
    """K01: better intensity metrics than every DDPM of most steps, and a larger FD than of the most that it knows."""
    t, seen = _acquired(study), _most(study.table("backbones_fd"))
    effects = []
    for name in BACKBONES:
        other = _label(name, "DDPM", _most(t))
        effects += [
            paired_effect(t, "psnr", "U-Net", other, ">", unit="dB"),
            paired_effect(t, "ssim", "U-Net", other, ">"),
            paired_effect(
                t.assign(mae=100 * t.mae), "mae", "U-Net", other, "<", unit="x 0.01", name=f"MAE, U-Net less {other}"
            ),
            *_fd_less(study, "U-Net", _label(name, "DDPM", seen)),
        ]
    return effects


def _slope(study: Study, name: str, kind: str) -> list[Effect]:
    """Rank correlation of the number of steps with FD, over all draws."""
    title, table = SWEEPS[name]
    t = study.table(table)
    t = t[(t.system == name) & (t.kind == kind) & (t.schedule == "")]
    steps = t.drop_duplicates("sampler").set_index("sampler").n_steps

    def slope(fd: pd.DataFrame) -> pd.Series:
        return fd[steps.index].apply(lambda row: stats.spearmanr(steps, row).statistic, axis=1)

    return _of_fd(study, f"steps and FD, {title} {kind}", slope, "<", unit="rank correlation", table=table)


def steps_lower_fd(study: Study) -> list[Effect]:
    """K02: more steps, lower FD; at equal steps DDIM lower than DDPM, averaged over the sweep in doublings.

    Of ADM at the shared budget, and of U-ViT trained longer.
    """
    effects = [e for name in SWEEPS for kind in KINDS for e in _slope(study, name, kind)]
    t = study.table("backbones_fd")
    steps = sorted(set(t[(t.kind == "DDIM") & (t.system == "adm")].n_steps))
    for name, (title, table) in SWEEPS.items():
        pairs = [[_label(name, kind, k) for kind in KINDS] for k in steps]

        def lead(fd: pd.DataFrame, pairs=pairs) -> pd.Series:
            return pd.concat([np.log2(fd[a] / fd[b]) for a, b in pairs], axis=1).mean(axis=1)

        told = f"FD at equal steps, {title}: DDPM over DDIM"
        effects += _of_fd(study, told, lead, ">", unit="doublings", table=table)
    return effects


def steps_do_not_help_intensity(study: Study) -> list[Effect]:
    """K03: from the fewest to the most steps no gain beyond what counts as none, on sixteen subjects (Fig. 4)."""
    t = _acquired(study)
    first, last = min(t[(t.kind == "DDPM") & (t.schedule == "")].n_steps), _most(t)
    effects = []
    for name in BACKBONES:
        pair = _label(name, "DDPM", last), _label(name, "DDPM", first)
        effects += [
            paired_effect(t, "psnr", *pair, "<", MARGINS["psnr"], unit="dB"),
            paired_effect(t, "ssim", *pair, "<", MARGINS["ssim"]),
        ]
    return effects


def swapped_schedules(study: Study) -> list[Effect]:
    """K04: the mildest and the strongest swap of the paper against the schedule of training."""
    t, seen = _acquired(study), _most(study.table("backbones_fd"))
    own = _label("adm", "DDPM", _most(t))
    effects = []
    for swap in ("ADM shifted-cosine", "ADM sigmoid-0.008"):
        effects += [
            paired_effect(t, "psnr", swap, own, ">", unit="dB"),
            paired_effect(t, "ssim", swap, own, ">"),
            paired_effect(
                t, "unet_psnr", swap, own, ">", unit="dB", name=f"PSNR to the U-Net's image, {swap} less {own}"
            ),
            *_fd_less(study, swap, _label("adm", "DDPM", seen)),
        ]
    return effects


def costs_differ(study: Study) -> list[Effect]:
    """K06: the order of parameters and of measured throughput in Table 2, at its sizes."""
    t = study.table("backbones_cost")
    paper = t[t["size"] == "paper"].drop_duplicates("system").set_index("system")
    order = sorted(STATED, key=lambda name: STATED[name]["parameters"])  # U-Net, ADM, U-ViT, DiT
    millions = paper.parameters
    effects = [
        _counted(f"parameters at the paper's sizes, {large} over {small}", millions[large] / millions[small])
        for small, large in zip(order[:-1], order[1:], strict=True)
    ]
    spread = paper.gflops.max() / paper.gflops.min()
    effects.append(_counted("operations at the paper's sizes, most over fewest", spread))
    rate = t[t["size"] == "paper"].pivot(index="repeat", columns="system", values="rate")
    for fast, slow in (("unet", "dit"), ("dit", "adm")):
        name = f"throughput at the paper's sizes, {fast} over {slow}"
        effects.append(
            mean_effect(name, np.log2(rate[fast] / rate[slow]), ">", unit="doublings", test="t interval over repeats")
        )
    return effects


def _counted(name: str, ratio: float) -> Effect:
    return Effect(name, ratio, ratio, ratio, 1, ">", 1.0, "times", "counted", arithmetic=True)


def slices_disagree(study: Study) -> list[Effect]:
    """K07: jumps between axial slices, slice by slice against a 2.5D model of the same budget."""
    t = _acquired(study).assign(inconsistency=lambda t: 1e3 * t.inconsistency)
    most = _most(t)
    return [
        paired_effect(
            t,
            "inconsistency",
            _label(name, "DDPM", most),
            "YODA, 2.5D",
            ">",
            unit="x 0.001",
            name=f"slice inconsistency, {TITLES[name]} less YODA's 2.5D",
        )
        for name in BACKBONES
    ]


EFFECTS: dict[str, Callable[[Study], Sequence[Effect]]] = {
    "K01": unet_scores_diffusion_looks,
    "K02": steps_lower_fd,
    "K03": steps_do_not_help_intensity,
    "K04": swapped_schedules,
    **patches.EFFECTS,
    "K06": costs_differ,
    "K07": slices_disagree,
    **convergence.EFFECTS,
}
NOTES = {
    "K01": (
        "Each net was trained once, on 16,000 slices; the paper uses 2.4 million. All images have 128 steps; "
        "intensities and distances are of sixteen subjects. No sample is closer to the noise-free truth either: the "
        "first extractor rewards the noise of the acquisition. To the untrained nets the U-Net's images are closer."
    ),
    "K02": (
        "Distances are for 16 to 128 steps, of sixteen subjects for ADM and thirty for U-ViT. With the shared budget "
        "U-ViT reaches its floor at 32 steps, so it is judged after twelve budgets. All three extractors confirm the "
        "claim for ADM, and the two trained ones for U-ViT too. To the untrained ones U-ViT's samples of 16 steps are"
        " as close as those of 128."
    ),
    "K03": (
        "From 16 to 128 steps of DDPM PSNR changes by {PSNR, ADM DDPM 128 less ADM DDPM 16:.1f} dB (ADM), {PSNR, "
        "U-ViT DDPM 128 less U-ViT DDPM 16:.1f} dB (U-ViT) and {PSNR, DiT DDPM 128 less DiT DDPM 16:.1f} dB (DiT). "
        "The paper goes to 1000 steps."
    ),
    "K04": (
        "Where a sigmoid is at its limit a step changes nothing, so such steps are skipped: of 128 steps, 47 are left"
        " for tau = 0.1 and five for tau = 0.008. Start 0 and end 3 of the sigmoid are those of the authors' code, "
        "which uses it as alpha; here, as in Jabri et al., it is alpha squared."
    ),
    "K06": (
        "The order of operations is not judged: those counted at the paper's sizes are 2 to 100 times the values in "
        "its Table 2, in another order. A single 3 x 3 convolution of 128 channels at 256 x 256 has 19 GFLOP, and the"
        " paper's whole U-Net 3. Half of ADM's operations here are attention among all voxels of a slice at two of "
        "three levels; the authors' code attends within rows, at all three. On a CPU the order of throughput is still"
        " that of the paper. ADM is by far the slowest there; U-ViT, which is as slow as ADM in the paper, is not "
        "judged."
    ),
    **patches.NOTES,
    **convergence.NOTES,
}
