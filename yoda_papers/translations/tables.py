"""Evidence on the papers' other translations: to CT, to T2w, to CTA at home and elsewhere, to T1w."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from yoda_nb.images.units import VIEWED, hounsfield, in_window
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.hounsfield import grain
from yoda_nb.metrics.images import evaluate, score
from yoda_nb.phantoms.phantom import field_of_view, phantom_case
from yoda_nb.study.sampling import progress_bar
from yoda_nb.study.subjects import FIRST_SEED
from yoda_nb.study.tables import white_matter
from yoda_nb.systems.run import averaged
from yoda_nb.systems.table import get_system
from yoda_nb.systems.train import model_name
from yoda_nb.training.rows import CURVE, at_budget
from yoda_papers.ledger.draws import fewer
from yoda_papers.translations import LONGER, SPACING, TRANSLATIONS, named

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

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
MANY_LONGER = 12  # of those of longer trainings, a number stated before their table
MORE_LONGER = {"ct": ("regression", "diffusion")}  # what these leave open, among MANY
RIVALS = {"selfrdb": "SelfRDB", "syndiff-paired": "SynDiff", "unet": "U-Net", "adm": "ADM"}
RIVALS |= {"bbdm": "bridge", "palette": "Palette", "resvit": "ResViT"}


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


def images(
    study: Study, v: Volume, key: str, n_ex: int | None = None, only: tuple[str, ...] = (), *, longer: bool = False
) -> dict[str, Tensor]:
    """What YODA and its rivals, or these of them, make of a subject: label -> (1,D,H,W) in [-1,1].

    ``n_ex`` samples of a CT are averaged too. ``longer``: by the trainings of ``LONGER``, which are not shipped.
    """

    def model(name: str) -> str:
        return model_name(at_budget(named(name, key), CURVE[-1]) if longer else named(name, key))

    n_ex = n_ex or (N_EX if v.contrast == "CT" else 1)
    draw = partial(study.samples, v)
    ways = {
        "regression": partial(draw, "yoda-regression", model=model("yoda")),
        "diffusion": partial(draw, "yoda-diffusion", model=model("yoda"), n_steps=fewer(study, YODA_STEPS), n_ex=n_ex),
    }
    for rival in LONGER[key] if longer else TRANSLATIONS[key].rivals:
        row = get_system(rival if longer else named(rival, key))
        steps = {} if row.n_steps == 1 else {"n_steps": fewer(study, STEPS.get(rival, row.n_steps))}
        ways[RIVALS[rival]] = partial(draw, row.name, model=model(rival), **steps)
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


def longer(study: Study) -> pd.DataFrame:
    """``scores`` after the trainings of ``LONGER``, at home."""
    keys = [] if study.own else LONGER
    n = study.count(MANY_LONGER)
    return _scores(study, [(key, HOME, v, ()) for key in keys for v in subjects(study, key, n=n)], longer=True)


def longer_more(study: Study) -> pd.DataFrame:
    """``longer`` of further subjects for those of ``MORE_LONGER`` alone, one sample of each."""
    sets = [] if study.own else MORE_LONGER.items()
    first, n = study.count(MANY_LONGER), study.count(MANY)
    each = [(key, HOME, v, only) for key, only in sets for v in subjects(study, key, n=n, first=first)]
    return _scores(study, each, longer=True, n_ex=1)


def _scores(study: Study, sets: Sequence[tuple[str, str, Volume, tuple[str, ...]]], **how: Any) -> pd.DataFrame:
    """Each set: a translation, a protocol, a subject, and the only samplers wanted; () for all and the acquired one."""
    rows = [
        {"translation": key, "protocol": protocol, "subject": v.subject, "sampler": label, "reference": reference}
        | scored(v, image, reference)
        for key, protocol, v, only in progress_bar(iterable=sets, desc="translations")
        for label, image in (
            images(study, v, key, only=only, **how) | ({} if only else {"acquired": required(v, "target")})
        ).items()
        for reference in ("acquired", "truth")
        if label != reference
    ]
    return pd.DataFrame(rows)


def scored(v: Volume, image: Tensor, reference: str) -> dict[str, float]:
    """``evaluate``, and of a CT its ``grain``; of a CTA ssim, psnr and mae (HU) in the window of -50 to 350 HU.

    That window is Koch's, data range 1 (Tables 3 and 4): its columns end in _angio. lesion_contrast is that of
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


def with_more(study: Study, key: str) -> pd.DataFrame:
    """``of`` the acquired images, with the further subjects of those that have them."""
    return _joined(study, ["translations", "translations-more"], key, "acquired")


def longest(study: Study, key: str, reference: str = "acquired") -> pd.DataFrame:
    """``of`` a translation after the most training that YODA and all of its rivals have, of all subjects there are."""
    names = ["translations-longer", "translations-longer-more"]
    known = [name for name in names if key in LONGER and (study.fresh or study.ships(name))]
    return _joined(study, known or ["translations"], key, reference)


def _joined(study: Study, names: list[str], key: str, reference: str) -> pd.DataFrame:
    return _rows(pd.concat([study.table(name) for name in names], ignore_index=True), key, HOME, reference)


TABLES: dict[str, Callable[[Study], pd.DataFrame]] = {
    "translations": scores,
    "translations-more": more,
    "translations-longer": longer,
    "translations-longer-more": longer_more,
}
