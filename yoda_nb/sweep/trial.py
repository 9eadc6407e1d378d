"""One trial of a sweep: a subject opened, an image from the bank or made, and its rows of the table."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from yoda_nb.data.manifest import load_case
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.images import evaluate
from yoda_nb.metrics.noise import white_matter_noise
from yoda_nb.study.sampling import samples
from yoda_nb.study.tables import white_matter
from yoda_nb.sweep.plan import Trial
from yoda_nb.systems.models import load_model, model_for
from yoda_nb.systems.run import averaged
from yoda_nb.systems.table import get_system

_last: dict[tuple[Any, ...], Volume] = {}  # the subject that this process opened last


def run_trial(trial: Trial, device: str | None = None) -> list[dict[str, Any]]:
    """Rows of the table: one for each reference that the subject has, "acquired" and "truth", or one without.

    Columns model, reference, ssim, psnr, mae, mse, data_range (1) and noise (of white matter, [0,1] scale). The
    images go into the bank. Raises InputError for what loading and sampling refuse.
    """
    volume = open_trial(trial)
    model, image = image_of(trial, volume, device)
    about = {"model": model, "noise": _noise(volume, image)}
    known = {"acquired": volume.target, "truth": volume.clean}
    rows = [about | {"reference": r, **evaluate(volume, image, reference=r)} for r, x in known.items() if x is not None]
    return rows or [about | {"reference": None}]


def open_trial(trial: Trial) -> Volume:
    """The trial's subject, with its target where it has one; the last one opened is kept for the trials that follow."""
    case = trial.case
    about = (str(case.root), case.dataset, case.subject, trial.sources, trial.target)
    if about not in _last:
        there = "any" in case.images or trial.target in case.images
        _last.clear()
        _last[about] = load_case(
            case, sources=trial.sources, target=trial.target if there else None, mirror=trial.mirror or None
        )
    return _last[about]


def image_of(trial: Trial, volume: Volume, device: str | None = None) -> tuple[str, Tensor]:
    """The name of the model, and the image (1,D,H,W) in [-1,1]: from the bank, or sampled now."""
    spec = get_system(trial.system, **dict(trial.settings))
    model = model_for(volume, spec, trial.model, trial.target)
    if (makes := load_model(model).contrast) != trial.target:
        raise InputError(f"Model {model} makes {makes}, not {trial.target}: choose another model.")
    where = trial.device or device
    drawn = samples(volume, trial.system, seed=trial.seed, device=where, model=model, **dict(trial.settings))
    return model, averaged(drawn, spec, makes) if spec.n_ex > 1 else drawn[0]


def _noise(volume: Volume, image: Tensor) -> float | None:
    try:
        return white_matter_noise((image + 1) / 2, white_matter(volume))
    except InputError:  # neither labels nor T1w, or too little white matter
        return None
