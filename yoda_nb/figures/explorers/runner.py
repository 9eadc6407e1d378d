"""The live explorer: run a sampler from the page, watch it, and see it join the trade-off plane."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from yoda_nb import study
from yoda_nb.diffusion.system import System
from yoda_nb.errors import InputError
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.figures.explorers.pictures import tradeoff
from yoda_nb.images.volumes import Volume, required
from yoda_nb.metrics.images import score
from yoda_nb.metrics.noise import white_matter_noise
from yoda_nb.nets.devices import find_device
from yoda_nb.study.tables import perceptual_table, white_matter
from yoda_nb.systems.papers import SYSTEMS
from yoda_nb.systems.run import averaged
from yoda_nb.systems.table import get_system, rows_for

STILL = (
    "The points are those of the report's run. To run other samplers, open this notebook where there is a kernel: "
    "'make lab' starts JupyterLab."
)
FAMILY = {
    "yoda-regression": "regression",
    "yoda-noised": "noised",
    "yoda-ddim": "DDIM",
    "yoda-heun": "Heun",
    "yoda-dpmpp": "DPM++",
    "yoda-expa": "ExpA",
    "yoda-diffusion": "diffusion",
}
MOST_STEPS, MOST_SAMPLES = 250, 64


class Cancelled(Exception):
    """The reader pressed Cancel, or the explorer is gone."""


def live(
    volume: Volume,
    *,
    table: pd.DataFrame | None = None,
    images: Mapping[str, Tensor] | None = None,
    device: str | torch.device | None = None,
) -> Explorer:
    """Choose system, steps, N_Ex and seed; run with progress and Cancel; look at what comes out.

    Results come from the bank where it has them. Each joins the plane of SSIM to the acquired
    image and Fréchet distance to its slices, on this subject alone: all points are computed here,
    as a mean over subjects would not compare. ``images`` (sampler -> (1,D,H,W) in [-1,1]) are
    there from the start, beside the acquired image and, where known, the truth; of ``table`` (a
    row a sampler) only the cost is taken, columns evaluations and seconds. Raises InputError for a
    subject without acquired target and a device that is not here.
    """
    find_device(device)
    if volume.target is None:
        raise InputError(f"{volume.subject} has no acquired target to compare with: the live explorer needs one.")
    shown = {**(images or {}), "acquired": volume.target}
    if volume.clean is not None:
        shown["truth"] = volume.clean
    rows = plane_rows(volume, shown)
    if table is not None:
        cost = table.set_index("sampler").reindex([row["sampler"] for row in rows])
        for column in cost.columns.intersection(["evaluations", "seconds"]):
            rows = [{**row, column: value} for row, value in zip(rows, cost[column], strict=True)]
    still = _plane(volume, rows, shown, note=STILL)
    return replace(still, around=lambda front: _controls(front, volume, rows, shown, device))


def plane_rows(volume: Volume, images: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """The plane on one subject, a dict an image: sampler, ssim, psnr, fd, noise.

    images: sampler -> (1,D,H,W) in [-1,1]; scores to the acquired image, data range 1.
    """
    inside, acquired = white_matter(volume), (required(volume, "target") + 1) / 2
    slices = perceptual_table([replace(volume, clean=None)], {label: [x] for label, x in images.items()})
    rows = []
    for (label, image), fd in zip(images.items(), slices.fd, strict=True):
        found = score((image + 1) / 2, acquired, volume.mask, data_range=1)
        rows.append(
            {
                "sampler": label,
                "ssim": found["ssim"],
                "psnr": found["psnr"],
                "fd": float(fd),
                "noise": white_matter_noise((image + 1) / 2, inside),
            }
        )
    return rows


def label_of(system: System, seed: int) -> str:
    """A run's name on the plane: its family, what was chosen, its seed."""
    if system.aggregate:
        return f"{FAMILY.get(system.name, system.name)}, seed {seed}"
    count = f" {system.n_ex}" if system.n_ex > 1 else ""
    return f"{FAMILY.get(system.name, system.name)}{count}, {system.n_steps} steps, seed {seed}"


def _plane(volume: Volume, rows: list[dict], images: Mapping[str, Tensor], *, note: str = "") -> Explorer:
    return tradeoff(
        pd.DataFrame(rows),
        images,
        volume.mask,
        reference="acquired",
        lesions=volume.lesions,
        note=note,
        spacing=volume.spacing,
        start=rows[-1]["sampler"],
        title=f"Samplers on {volume.subject}",
        x_label="SSIM to the acquired image (data range 1)",
        y_label="Fréchet distance to its slices",
    )


def run(
    volume: Volume, system: str, settings: Mapping[str, Any], *, seed: int, device, tell: Callable[[int, int], None]
) -> tuple[str, Tensor, dict[str, Any]]:
    """Sample, score, and return label, image (1,D,H,W) in [-1,1] and row; ``tell(done, of)`` may raise."""
    spec, done, started = get_system(system, **settings), 0, time.monotonic()

    def watch(*_) -> None:
        nonlocal done
        done += 1
        tell(done, spec.n_ex * spec.n_steps)

    drawn = study.samples(volume, system, seed=seed, device=device, on_step=watch, **settings)
    image = averaged(drawn, spec, volume.contrast) if len(drawn) > 1 else drawn[0]
    seconds = time.monotonic() - started if done else float("nan")  # what is remembered tells no time
    label = label_of(spec, seed)
    (row,) = plane_rows(volume, {label: image})
    return label, image, {**row, "evaluations": spec.evaluations, "seconds": seconds}


def _controls(front, volume: Volume, rows: list[dict], images: Mapping[str, Tensor], device):
    """The live plane below a form that runs samplers in a thread of their own."""
    import ipywidgets

    rows, images = list(rows), dict(images)
    wide = {"style": {"description_width": "initial"}}
    system = ipywidgets.Dropdown(options=rows_for(volume.sources, volume.contrast), description="System", **wide)
    layout = ipywidgets.Layout(width="9rem")
    steps, n_ex, seed = (
        ipywidgets.BoundedIntText(1, min=low, max=high, description=words, layout=layout, **wide)
        for words, low, high in (("Steps", 1, MOST_STEPS), ("N_Ex", 1, MOST_SAMPLES), ("Seed", 0, 10**6))
    )
    start = ipywidgets.Button(description="Run", button_style="primary")
    cancel = ipywidgets.Button(description="Cancel", disabled=True)
    bar, said = ipywidgets.IntProgress(min=0, max=1, description="Progress"), ipywidgets.Label()
    stop = threading.Event()
    seed.value = 0

    def suit(*_) -> None:
        """The chosen system's own settings, and only those that mean something for it."""
        spec = SYSTEMS[system.value]
        steps.value, n_ex.value = spec.n_steps, spec.n_ex
        steps.disabled, n_ex.disabled = spec.aggregate, spec.name != "yoda-expa"

    def tell(done: int, of: int) -> None:
        if stop.is_set() or front.comm is None:
            raise Cancelled
        bar.max, bar.value = of, done
        said.value = f"step {done} of {of}"

    def work(name: str, settings: dict, number: int) -> None:
        nonlocal rows
        try:
            label, image, row = run(volume, name, settings, seed=number, device=device, tell=tell)
            images[label] = image
            rows = [other for other in rows if other["sampler"] != label] + [row]
            plane = _plane(volume, rows, images)
            with front.hold_sync():
                front.frames, front.spec = dict(plane.frames), {**plane.spec, "caption": front.spec["caption"]}
                front.state = {"sampler": len(rows) - 1}
            said.value = f"{label}: SSIM {row['ssim']:.3f}, Fréchet distance {row['fd']:.3g}"
            bar.value = bar.max
        except Cancelled:
            said.value = f"Cancelled at step {bar.value} of {bar.max}; nothing was kept."
        except InputError as error:
            said.value = str(error)
        except Exception as error:  # a thread's error would otherwise be seen by nobody
            said.value = f"The run failed ({type(error).__name__}: {error})."
        finally:
            start.disabled, cancel.disabled = False, True

    def begin(*_) -> None:
        stop.clear()
        spec = SYSTEMS[system.value]
        settings = {} if spec.aggregate else {"n_steps": steps.value, "n_ex": n_ex.value}
        start.disabled, cancel.disabled, bar.value, said.value = True, False, 0, "starting"
        job = (system.value, settings, seed.value)
        threading.Thread(target=work, args=job, daemon=True, name="yoda-nb-live").start()

    system.observe(suit, "value")
    start.on_click(begin)
    cancel.on_click(lambda _: stop.set())
    suit()
    front.spec = {**front.spec, "note": ""}
    form = ipywidgets.HBox([system, steps, n_ex, seed, start, cancel], layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([form, ipywidgets.HBox([bar, said]), front])
