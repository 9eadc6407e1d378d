"""The numbers of ``docs/measured.md``: regression against the truth, and the noise of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from yoda_nb.diffusion.process import expected
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.images import evaluate
from yoda_nb.metrics.noise import white_matter_noise
from yoda_nb.nets.devices import find_device
from yoda_nb.study.sampling import samples
from yoda_nb.study.subjects import load_subjects
from yoda_nb.study.tables import convergence_table, white_matter
from yoda_papers.ledger.rebuild import Say, where_and_when

DIRECTIONS = ((("T1w", "T2w"), "FLAIR"), (("FLAIR", "T1w"), "T2w"))
ALL = 99  # subjects: more than any dataset of the manifest has


def measure(
    mirror: str | Path | None = None,
    subjects: int = 2,
    offline: bool = False,
    *,
    device: str | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """The numbers of ``docs/measured.md``, as plain values.

    "regression": regression against the noise-free truth over all test subjects of a dataset and
    target; "samples": for the first ``subjects`` of each dataset white-matter noise ([0,1] scale) of
    the acquired image, a diffusion sample and regression, and the SSIM of ExpA 10 to regression.
    ``offline`` leaves out the phantoms of label maps, which are downloaded or found below ``mirror``.
    """
    find_device(device)
    smooth_rows, sampled = [], []
    for dataset in ("phantom",) if offline else ("phantom", "phantom-labels"):
        for sources, target in DIRECTIONS:
            say(f"{dataset}: {'+'.join(sources)} to {target}")
            for k, v in enumerate(
                load_subjects(
                    ALL, dataset=dataset, sources=sources, target=target, mirror=str(mirror) if mirror else None
                )
            ):
                (smooth,) = samples(v, "yoda-regression", device=device)
                found = evaluate(v, smooth, reference="truth")
                smooth_rows.append({"dataset": dataset, "target": target, **found})
                if k < subjects and target == "FLAIR":
                    sampled.append({"dataset": dataset, "subject": v.subject, **_noise(v, smooth, device)})
    options = [f"--subjects {subjects}", *(["--offline"] if offline else []), *(["--mirror DIR"] if mirror else [])]
    return {
        "command": " ".join(["yoda-nb rebuild numbers", *options]),
        **where_and_when(device or ""),
        "regression": _means(pd.DataFrame(smooth_rows)),
        "samples": sampled,
    }


def _noise(v: Volume, smooth: Tensor, device: str | None) -> dict[str, float]:
    """Noise of a sample and its neighbours, and how close ten samples' average comes to regression."""
    drawn = samples(v, "yoda-diffusion", n_ex=10, device=device, progress=True)
    assert v.target is not None
    inside, images = white_matter(v), {"acquired": v.target, "diffusion": drawn[0], "regression": smooth}
    noise = {name: white_matter_noise((x + 1) / 2, inside) for name, x in images.items()}
    way = convergence_table([v], {"regression": [smooth], "ExpA 10": [expected(drawn)]}).iloc[0]
    ratio = noise["diffusion"] / noise["acquired"]
    return noise | {"ratio": ratio, "expa10_ssim": float(way.ssim), "bound": float(way.ssim_bound)}


def _means(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Mean and standard deviation over subjects, a row for each dataset and target."""
    rows = []
    for (dataset, target), group in table.groupby(["dataset", "target"], sort=False):
        parts = {f"{m}_{name}": float(getattr(group[m], name)()) for m in ("ssim", "psnr") for name in ("mean", "std")}
        rows.append({"dataset": dataset, "target": target, "n": len(group), **parts})
    return rows
