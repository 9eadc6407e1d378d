"""The explorer of style keys: the look of an image as a control."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from yoda_nb.diffusion.coherence import slice_inconsistency
from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.errors import InputError
from yoda_nb.figures import plots
from yoda_nb.figures.explorers.core import LIMIT, by, difference, make_spec, make_stage, panel, select
from yoda_nb.figures.explorers.explorer import Explorer
from yoda_nb.images.styles import distances, histogram
from yoda_nb.images.volumes import Volume
from yoda_nb.metrics.images import score


def styles(
    images: Mapping[str, Mapping[str, Tensor]], volume: Volume, *, title: str = "Style keys", limit: float = LIMIT
) -> Explorer:
    """One image for each style key and each way of sampling, with its difference to the acquired one.

    images: style -> sampling -> (1,D,H,W) in [-1,1], the same ways for every style. Read out are
    SSIM, PSNR and the earth mover's distance of histograms to the acquired target, where there is
    one, and the jumps between axial slices. Raises InputError for no images and for ways that differ.
    """
    names = list(images)
    ways = list(images[names[0]]) if names else []
    if not ways or any(list(each) != ways for each in images.values()):
        raise InputError("Every style key needs an image by each way of sampling: give the same ways for all.")
    stage = make_stage(volume.mask, lesions=volume.lesions, spacing=volume.spacing)

    def each(found) -> dict:
        return by("style", [by("sampling", [found(style, way) for way in ways]) for style in names])

    shown = each(lambda style, way: stage.add(images[style][way], f"{style}, {way}"))
    columns = [[panel(each(lambda style, way: f"{style} key, {way}"), shown)]]
    numbers = {style: {way: _numbers(images[style][way], volume) for way in ways} for style in names}
    if volume.target is not None:
        acquired = stage.add(volume.target, "the acquired image")
        columns += [[difference("image − acquired", shown, acquired)], [panel("acquired", acquired)]]
    told = [
        (label, each(lambda style, way, label=label: numbers[style][way][label]))
        for label in numbers[names[0]][ways[0]]
    ]
    controls = [select("style", "Style key", names), select("sampling", "Slices", ways, len(ways) - 1)]
    spec = make_spec(stage, title=title, columns=columns, controls=controls, limit=limit, readouts=told)

    def picture():
        row = {f"{style} key": images[style][ways[-1]] for style in names}
        at = plots.best_slice(volume.mask, volume.lesions)
        if volume.target is None:
            return plots.image_row(row, index=at, title=title)
        return plots.comparison(
            {**row, "acquired": volume.target}, volume.target, reference_name="acquired", limit=limit, index=at
        )

    return Explorer(spec, stage.frames, picture)


def _numbers(image: Tensor, v: Volume) -> dict[str, str]:
    """What is read out of one image."""
    jumps = {"Jumps between axial slices ([0,1] scale)": f"{slice_inconsistency(image / 2, v.mask, AXIAL):.4f}"}
    if v.target is None:
        return jumps
    found = score((image + 1) / 2, (v.target + 1) / 2, v.mask, data_range=1)
    apart = float(distances(histogram(v.target, v.mask), histogram(image, v.mask)[None])[0])
    return {
        "SSIM to acquired": f"{found['ssim']:.3f}",
        "PSNR to acquired (dB)": f"{found['psnr']:.2f}",
        "Distance of histograms to acquired": f"{apart:.4f}",
        **jumps,
    }
