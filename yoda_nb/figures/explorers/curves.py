"""Explorers of a dose: how many samples are averaged, how much noise is added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from yoda_nb.diffusion.process import expected
from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.figures.explorers.core import (
    LIMIT,
    Stage,
    by,
    chart,
    difference,
    make_spec,
    make_stage,
    panel,
    series,
    slider,
)
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.metrics.images import score
from yoda_nb.metrics.noise import add_rician, white_matter_noise
from yoda_nb.study.tables import averaging_fit

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
MOST = 12  # values of a dose that are shown one by one


def expa(
    samples: Tensor,
    mask: Tensor,
    *,
    regression: Tensor,
    sigma: float | None = None,
    reference: Tensor | None = None,
    white_matter: Tensor | None = None,
    title: str = "ExpA: averaging N samples",
    limit: float = LIMIT,
    spacing: Sequence[float] = (1, 1, 1),
) -> Explorer:
    """ExpA over the first N samples against regression, for N from 1 to all.

    samples (n,1,D,H,W), regression and ``reference`` (another image to compare with, say the
    truth) (1,D,H,W), all in [-1,1]. The residual is the root mean square difference to regression
    ([0,1] scale) in ``white_matter`` (1,D,H,W) if given, else in the mask, beside the law
    sqrt(a + b / N) fitted to it and, with ``sigma`` (of one sample, [0,1] scale), sigma / sqrt(N).
    Above 12 samples, N runs in geometric steps.
    """
    if samples.ndim != 5 or not len(samples):
        raise InputError(f"ExpA takes samples (n,1,D,H,W), got shape {tuple(samples.shape)}: stack at least one.")
    counts = _counts(len(samples))
    stage = make_stage(mask, spacing=spacing)
    smooth = stage.add(regression, "The regression image")
    inside = stage.mask if white_matter is None else white_matter.bool()
    images = [expected(samples[:n]) for n in counts]
    frames = [stage.add(image, f"ExpA {n}") for n, image in zip(counts, images, strict=True)]
    residual = [float(((x - regression) / 2)[inside].square().mean().sqrt()) for x in images]
    ssim = [score((x + 1) / 2, (regression + 1) / 2, stage.mask, data_range=1)["ssim"] for x in images]
    law = inverse_law(counts, residual)
    region = "white matter" if white_matter is not None else "the brain"

    current = by("n", frames)
    columns = [
        [panel(by("n", [f"ExpA, N = {n}" for n in counts]), current)],
        [panel("regression", smooth)],
        [difference("ExpA − regression", current, smooth)],
    ]
    if reference is not None:
        other = stage.add(reference, "The reference image")
        columns += [[panel("reference", other)], [difference("ExpA − reference", current, other)]]
    readouts = [
        ("N", by("n", map(str, counts))),
        ("Residual to regression", by("n", [f"{r:.4f}" for r in residual])),
        ("Law √(a + b/N)", by("n", [f"{r:.4f}" for r in law])),
        ("SSIM to regression", by("n", [f"{s:.4f}" for s in ssim])),
    ]
    smooth_n = np.geomspace(1, counts[-1], 40)
    curves = [
        series(
            "measured",
            list(zip(counts, residual, strict=True)),
            colour=BLUE,
            marker="o",
            names=[f"N = {n}: residual {r:.4f}" for n, r in zip(counts, residual, strict=True)],
        ),
        series(
            "√(a + b/N)",
            list(zip(smooth_n, inverse_law(counts, residual, smooth_n), strict=True)),
            colour=BLUE,
            line="dashed",
        ),
    ]
    if sigma is not None:
        readouts.insert(3, ("σ/√N", by("n", [f"{sigma / n**0.5:.4f}" for n in counts])))
        curves.append(series("σ/√N", [(n, sigma / n**0.5) for n in smooth_n], colour=ORANGE, line="dotted"))
    scores = series(
        "",
        list(zip(counts, ssim, strict=True)),
        colour=GREEN,
        marker="D",
        line="solid",
        names=[f"N = {n}: SSIM {s:.4f}" for n, s in zip(counts, ssim, strict=True)],
    )
    log_x = counts[-1] > MOST
    spec = make_spec(
        stage,
        title=title,
        columns=columns,
        limit=limit,
        readouts=readouts,
        controls=[slider("n", "N", [f"N = {n}" for n in counts])],
        charts=[
            chart("n", f"Residual to regression in {region}", "N", "RMS difference ([0,1])", curves, log_x=log_x),
            chart("n", "SSIM to regression", "N", "SSIM", [scores], log_x=log_x),
        ],
    )

    def picture():
        shown = {f"N = {n}": x for n, x in zip(counts, images, strict=True) if n in (1, 2, 4, counts[-1])}
        index = plots.best_slice(stage.mask, None)
        return plots.comparison(
            {**shown, "regression": regression}, regression, reference_name="regression", limit=limit, index=index
        )

    return Explorer(spec, stage.frames, picture)


def inverse_law(counts: Sequence[int], residual: Sequence[float], at: ArrayLike | None = None) -> np.ndarray:
    """sqrt(a + b / N) with a, b >= 0 fitted to residuals by non-negative least squares, at N."""
    a, b = averaging_fit(counts, np.square(residual))
    return np.sqrt(a + b / np.asarray(counts if at is None else at, float))


def noise(
    regression: Tensor,
    sigmas: Sequence[float],
    mask: Tensor,
    *,
    target: Tensor,
    clean: Tensor | None = None,
    fd: Mapping[float, float] | None = None,
    seed: int = 0,
    white_matter: Tensor | None = None,
    title: str = "Noise on the regression image",
    limit: float = LIMIT,
    spacing: Sequence[float] = (1, 1, 1),
) -> Explorer:
    """The regression image with Rician noise of each sigma ([0,1] scale), and what scores say of it.

    regression, target (acquired) and clean (truth): (1,D,H,W) in [-1,1]. The same draw of noise is
    scaled, so only its size changes. ``fd`` gives the Fréchet distance at some or all sigmas. With
    ``white_matter`` (1,D,H,W) the noise measured there is told too.
    """
    sigmas = sorted({float(s) for s in sigmas})
    if not sigmas or sigmas[0] < 0:
        raise InputError("The noise explorer takes at least one sigma, none below 0, on the [0,1] scale.")
    stage = make_stage(mask, spacing=spacing)
    images = [_noised(regression, s, seed) for s in sigmas]
    current = by("sigma", [stage.add(x, f"noise {s:g}") for x, s in zip(images, sigmas, strict=True)])
    others = {name: x for name, x in (("acquired", target), ("truth", clean)) if x is not None}
    found = {f"{what} to {name}": values for name, x in others.items() for what, values in _scores(images, x, stage)}
    if fd:
        found["Fréchet distance"] = [_near(fd, s) for s in sigmas]
    measured = [] if white_matter is None else [white_matter_noise((x + 1) / 2, white_matter) for x in images]

    columns = [[panel(by("sigma", [f"regression + σ = {s:g}" for s in sigmas]), current)]]
    for name, other in others.items():
        frame = stage.add(other, f"The {name} image")
        columns += [[panel(name, frame)], [difference(f"image − {name}", current, frame)]]
    readouts = [("σ added", by("sigma", [f"{s:g}" for s in sigmas]))]
    if measured:
        readouts.append(("Noise in white matter", by("sigma", [f"{m:.4f}" for m in measured])))
    readouts += [(name, by("sigma", ["–" if np.isnan(v) else f"{v:.4g}" for v in found[name]])) for name in found]
    charts = [
        _dose(what, {n: v for n, v in found.items() if n.startswith(what)}, sigmas)
        for what in ("SSIM", "PSNR", "Fréchet distance")
        if any(n.startswith(what) for n in found)
    ]
    spec = make_spec(
        stage,
        title=title,
        columns=columns,
        limit=limit,
        readouts=readouts,
        charts=charts,
        controls=[slider("sigma", "σ", [f"{s:g}" for s in sigmas])],
    )

    def picture():
        row = {f"σ = {sigmas[k]:g}": images[k] for k in sorted({0, len(sigmas) // 2, len(sigmas) - 1})}
        return plots.image_row({**row, "acquired": target}, index=plots.best_slice(stage.mask, None), title=title)

    return Explorer(spec, stage.frames, picture)


def _counts(n: int) -> list[int]:
    if n <= MOST:
        return list(range(1, n + 1))
    return sorted({round(k) for k in np.geomspace(1, n, MOST)})


def _noised(image: Tensor, sigma: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return add_rician(((image + 1) / 2).clamp(0, 1), sigma, generator=generator).clamp(max=1) * 2 - 1


def _scores(images: Sequence[Tensor], other: Tensor, stage: Stage) -> Iterator[tuple[str, list[float]]]:
    found = [score((x + 1) / 2, (other + 1) / 2, stage.mask, data_range=1) for x in images]
    yield "SSIM", [f["ssim"] for f in found]
    yield "PSNR", [f["psnr"] for f in found]


def _near(fd: Mapping[float, float], sigma: float) -> float:
    return next((float(v) for s, v in fd.items() if np.isclose(float(s), sigma)), float("nan"))


def _dose(what: str, curves: Mapping[str, Sequence[float]], sigmas: Sequence[float]) -> dict:
    """One score against sigma, a series for each image it is taken to."""
    styles = ((BLUE, "o", "solid"), (ORANGE, "^", "dashed"))
    unit = {"SSIM": "SSIM", "PSNR": "PSNR (dB)"}.get(what, what)
    lines = [
        series(
            name if len(curves) > 1 else "",
            list(zip(sigmas, values, strict=True)),
            colour=colour,
            marker=marker,
            line=line,
            names=[f"σ = {s:g}: {name} {v:.4g}" for s, v in zip(sigmas, values, strict=True)],
        )
        for (name, values), (colour, marker, line) in zip(curves.items(), styles, strict=False)
    ]
    return chart("sigma", what, "σ added ([0,1] scale)", unit, lines)
