"""Evidence on the papers' other translations: to CT, to T2w, to CTA at home and elsewhere, to T1w."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from yoda_nb.data.phantom import field_of_view, phantom_case
from yoda_nb.images.units import VIEWED, hounsfield, in_window
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.hounsfield import grain
from yoda_nb.metrics.images import evaluate, score
from yoda_nb.papers.translations import SPACING, TRANSLATIONS, named
from yoda_nb.study.claims.draws import fewer
from yoda_nb.study.claims.verdicts import MARGINS, Effect, paired_effect
from yoda_nb.study.sampling import progress_bar
from yoda_nb.study.subjects import FIRST_SEED
from yoda_nb.study.tables import white_matter
from yoda_nb.systems.run import averaged
from yoda_nb.systems.table import get_system
from yoda_nb.systems.train import model_name

if TYPE_CHECKING:
    from yoda_nb.study.claims.evidence import Study

THIN = 16  # slices of a phantom of the tests' profile
N_EX, YODA_STEPS = 4, 10  # samples of a CT, which alone is averaged; of others one
STEPS = {"adm": 16, "palette": 25}  # fewer than their rows have
HOME, ELSEWHERE = "a", "b"  # protocols: of training, and another site's
SETS = (*((key, HOME) for key in TRANSLATIONS), ("cta", ELSEWHERE))
# what the profile's few subjects left open: of whom, among as many
MORE: dict[tuple[str, str], tuple[str, ...]] = {
    ("t2w", HOME): ("regression", "SelfRDB"),
    ("cta", HOME): ("U-Net", "ADM"),
}
MANY = 30
RIVALS = {"selfrdb": "SelfRDB", "syndiff-paired": "SynDiff", "unet": "U-Net", "adm": "ADM"}
RIVALS |= {"bbdm": "bridge", "palette": "Palette"}


def subjects(study: Study, key: str, protocol: str = HOME, n: int | None = None, first: int = 0) -> list[Volume]:
    """Test phantoms of one of ``TRANSLATIONS`` from the ``first`` to the ``n``-th, or to the last that a verdict takes.

    Thin ones in the tests' profile.
    """
    of = TRANSLATIONS[key]
    contrasts = (*of.sources, of.target)
    d, h, w = field_of_view(contrasts, SPACING)
    shape = (d, h, THIN if study.profile == "tiny" else w)
    seeds = range(FIRST_SEED + first, FIRST_SEED + (n or study.settings.evidence))
    how: dict[str, Any] = {"sources": of.sources, "target": of.target, "spacing": SPACING, "shape": shape}
    return [phantom_case(seed, protocol=protocol, **how) for seed in seeds]


def images(study: Study, v: Volume, key: str, n_ex: int | None = None, only: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """What YODA and its rivals, or these of them, make of a subject: label -> (1,D,H,W) in [-1,1].

    ``n_ex`` samples of a CT are averaged too.
    """
    model = model_name(named("yoda", key))
    n_ex = n_ex or (N_EX if v.contrast == "CT" else 1)
    draw = partial(study.samples, v)
    ways = {
        "regression": partial(draw, "yoda-regression", model=model),
        "diffusion": partial(draw, "yoda-diffusion", model=model, n_steps=fewer(study, YODA_STEPS), n_ex=n_ex),
    }
    for rival in TRANSLATIONS[key].rivals:
        row = get_system(named(rival, key))
        steps = {} if row.n_steps == 1 else {"n_steps": fewer(study, STEPS.get(rival, row.n_steps))}
        ways[RIVALS[rival]] = partial(draw, row.name, **steps)
    drawn = {label: way() for label, way in ways.items() if not only or label in only}
    made = {label: each[0] for label, each in drawn.items()}
    if n_ex > 1 and "diffusion" in drawn:
        made[f"ExpA {n_ex}"] = averaged(drawn["diffusion"], get_system("yoda-expa"), v.contrast)
    return made


def scores(study: Study) -> pd.DataFrame:
    """``scored`` of every image of every translation, to the acquired image and to the truth.

    Columns: translation (key of ``TRANSLATIONS``), protocol, subject, sampler, reference, and the scores.
    """
    return _scores(study, [] if study.own else [(*of, v, ()) for of in SETS for v in subjects(study, *of)])


def more(study: Study) -> pd.DataFrame:
    """``scores`` of further subjects for those of ``MORE`` alone."""
    if study.own:
        return _scores(study, [])
    first, n = study.settings.evidence, study.count(MANY)
    return _scores(study, [(*of, v, only) for of, only in MORE.items() for v in subjects(study, *of, n=n, first=first)])


def _scores(study: Study, sets: list[tuple[str, str, Volume, tuple[str, ...]]]) -> pd.DataFrame:
    """Each set: a translation, a protocol, a subject, and the only samplers wanted; () for all and the acquired one."""
    rows = [
        {"translation": key, "protocol": protocol, "subject": v.subject, "sampler": label, "reference": reference}
        | scored(v, image, reference)
        for key, protocol, v, only in progress_bar(iterable=sets, desc="translations")
        for label, image in (
            images(study, v, key, only=only) | ({} if only else {"acquired": required(v, "target")})
        ).items()
        for reference in ("acquired", "truth")
        if label != reference
    ]
    return pd.DataFrame(rows)


def scored(v: Volume, image: Tensor, reference: str) -> dict[str, float]:
    """``evaluate``, and of a CT its ``grain``; of a CTA ssim, psnr and mae (HU) in the window of -50 to 350 HU.

    That window is seed 001's, data range 1 (Tables 3 and 4): its columns end in _angio. lesion_contrast is that of
    the true lesions, aneurysms of a CTA, to white matter, as a share of the truth's.
    """
    found = evaluate(v, image, reference=reference) | {"lesion_contrast": _lesion_contrast(v, image)}
    if not hounsfield(v.contrast):
        return found
    known = required(v, "target" if reference == "acquired" else "clean")
    found["grain"] = grain(image, known, v.mask, v.contrast)
    if "angio" in VIEWED[v.contrast]:
        window = VIEWED[v.contrast]["angio"]
        a, b = ((in_window(x, v.contrast, window) + 1) / 2 for x in (image, known))
        seen = score(a, b, v.mask, data_range=1)
        found |= {f"{name}_angio": seen[name] for name in ("ssim", "psnr")}
        found["mae_angio"] = seen["mae"] * (window[1] - window[0])
    return found


def _lesion_contrast(v: Volume, image: Tensor) -> float:
    lesions, white = required(v, "lesions"), white_matter(v)
    made, true = (float(x[lesions].mean() - x[white].mean()) for x in (image, required(v, "clean")))
    return made / true


def of(study: Study, key: str, protocol: str = HOME, reference: str = "acquired") -> pd.DataFrame:
    """The rows of one translation against one reference."""
    return _rows(study.table("translations"), key, protocol, reference)


def _rows(t: pd.DataFrame, key: str, protocol: str, reference: str) -> pd.DataFrame:
    return t[(t.translation == key) & (t.protocol == protocol) & (t.reference == reference)]


def _with_more(study: Study, key: str) -> pd.DataFrame:
    """``of`` the acquired images, with the further subjects of those that have them."""
    parts = [study.table(name) for name in ("translations", "translations-more")]
    return _rows(pd.concat(parts, ignore_index=True), key, HOME, "acquired")


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
    t = of(study, "ct")
    pair = ("regression", "diffusion")
    bone = paired_effect(t, "bone_dice", *pair, "within", MARGINS["dice"], name=_named("bone_dice", *pair))
    return [*_better(t, "regression", ("diffusion",), IMAGE), bone]


def ct_over_rivals(study: Study) -> list[Effect]:
    """Y32: SSIM, PSNR and Dice of bone higher than those of both rivals that are here."""
    return _better(of(study, "ct"), "regression", ("SelfRDB", "SynDiff"), IMAGE | {"bone_dice": ""})


def ct_texture(study: Study) -> list[Effect]:
    """Y33: diffusion has grain that regression lacks, averaging takes it away, and it is farther from the truth.

    Grain of soft tissue in HU; error in bone, whose density no MR image tells, to the noise-free CT.
    """
    t, mean = of(study, "ct", reference="truth"), f"ExpA {N_EX}"
    judged = (
        ("grain", "diffusion", "regression", ">"),
        ("grain", mean, "diffusion", "<"),
        ("mae_hu_bone", "diffusion", "regression", ">"),
    )
    return [paired_effect(t, m, a, b, rule, unit="HU", name=_named(m, a, b)) for m, a, b, rule in judged]


def t2w_by_regression(study: Study) -> list[Effect]:
    """Y34: SSIM and PSNR higher than those of diffusion and of both rivals that are here."""
    return _better(_with_more(study, "t2w"), "regression", ("diffusion", "SelfRDB", "SynDiff"), IMAGE)


def _angiograms(t: pd.DataFrame, a: str, b: str) -> list[Effect]:
    """SSIM and PSNR of a higher than b's, its error lower, in the window of seed 001."""
    higher = _better(t, a, (b,), {"ssim_angio": "", "psnr_angio": "dB"})
    return [*higher, paired_effect(t, "mae_angio", a, b, "<", unit="HU", name=_named("mae_angio", a, b))]


def cta_at_home(study: Study) -> list[Effect]:
    """K09: the U-Net over ADM on phantoms of the scanner of training."""
    return _angiograms(_with_more(study, "cta"), "U-Net", "ADM")


def cta_elsewhere(study: Study) -> list[Effect]:
    """K10: ADM over the U-Net on phantoms of another site's scanner."""
    return _angiograms(of(study, "cta", ELSEWHERE), "ADM", "U-Net")


def t1w_by_bridge(study: Study) -> list[Effect]:
    """B06: the bridge with average key and ISTA over Palette; NRMSE is PSNR by another name."""
    return _better(of(study, "t1w"), "bridge", ("Palette",), IMAGE)


TABLES: dict[str, Callable[[Study], pd.DataFrame]] = {"translations": scores, "translations-more": more}
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
    "YODA's net predicts v and has seen 64,000 slabs. At t = T, where regression takes its image, it then leaves of "
    "the noise that it starts from a grain of 25 HU, 0.8 % of the CT's window; ten steps of a sample take it away. "
    "Y19 and Y27 know it of FLAIR. So this says more of so short a training for v than of regression; one for "
    "regression alone (yoda-nb train --regression) would tell."
)
NOTES = {
    "Y31": f"{_AT_T} Bones are as well placed by both.",
    "Y32": f"{_AT_T} Both rivals predict the image; in soft tissue they err by half as much. ResViT, which the paper "
    "compares with too, is not trained here.",
    "Y33": f"{_AT_T} That averaging takes grain away does reproduce.",
    "Y34": "Decided by thirty subjects, where six left it open: regression is ahead of SelfRDB in SSIM and behind it "
    "in PSNR, to the noise-free truth too. It is ahead of a sample and of SynDiff in both.",
    "K09": "SSIM is decided by thirty subjects, where six left it open. No feature net knows CTAs, so no Fréchet "
    "distance is measured. ADM's vessels are as good as the U-Net's.",
    "K10": "The other site's scanner has another flip angle, echo time, inflow and contrast agent; nothing is badly "
    "registered or cut off, which the paper names as what troubled its external set.",
    "B06": "One training each of 64,000 slabs; Palette takes 25 steps where the paper takes 1000.",
}
