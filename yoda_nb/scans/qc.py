"""One page of quality control for each subject: what was done to its files, and what to look at. Offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from yoda_nb.errors import InputError, printable
from yoda_nb.figures import plots
from yoda_nb.figures.explorers import Explorer
from yoda_nb.figures.explorers.planes import planes
from yoda_nb.images.headers import CAUTION
from yoda_nb.images.masks import millilitres
from yoda_nb.images.space import roi_box
from yoda_nb.images.units import WINDOWS, part_of
from yoda_nb.images.volumes import UNKNOWN, Volume, intensity_window, required
from yoda_nb.metrics.images import matched_to, score
from yoda_nb.preparation.prepare import Prepared
from yoda_nb.report.pages import render_page
from yoda_nb.store import write_atomic


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, pictures, a table whose first row names its columns, facts."""

    title: str
    text: str
    figures: tuple[Mapping[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    explorer: Explorer | None = None  # takes the place of the pictures where there is JavaScript
    facts: tuple[tuple[str, str], ...] = ()  # terms with what is said of them


def write_qc(
    prepared: Prepared,
    path: str | Path,
    *,
    result: Volume | None = None,
    facts: Mapping[str, Any] | None = None,
    scores: Mapping[str, float] | None = None,
) -> Path:
    """Write the page of a prepared subject, and of the image made of it (``result.target``) if there is one.

    ``facts`` say how the image was made and what is known of its model. ``scores`` are those of ``evaluate`` against
    the acquired target; those after the best gain and offset are put beside them. The ``spread`` of the
    result and the mask of another method, where there are any, can be laid over the images.
    The file needs no other and no network, and appears whole or not at all. Raises InputError where it cannot be
    written, and for maps of another shape.
    """
    path = Path(path)
    volume = prepared.volume
    page = render_page(
        "qc.html.j2",
        title=f"Quality control: {printable(volume.subject)}" if volume.subject != UNKNOWN else "Quality control",
        lead=_lead(prepared),
        warnings=[printable(sentence) for sentence in prepared.warnings],
        sections=[
            _look(prepared, result),
            *([_made(prepared.volume, result, facts or {}, scores)] if result is not None else []),
            *_sections(prepared),
        ],
        here="qc",
    )
    write_atomic(path, page)
    return path


def check_page(path: Path | None) -> None:
    """Refuse a name that is no page's, and a file that is no page of this package."""
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} does not end in .html: name a page.")
    if path is not None and path.is_file() and not is_page(path):
        raise InputError(f"{path} is there and was not made by yoda-nb: choose another name.")


def is_page(path: str | Path) -> bool:
    """Whether a file is empty or a page of this package, which may be written again."""
    text = Path(path).read_bytes()
    return not text or b"yoda-nb" in text


def _lead(prepared: Prepared) -> str:
    volume, reference = prepared.volume, next(n for n in prepared.after if n not in prepared.registrations)
    sides = [f"{side:.3g}" for side in volume.spacing]
    size = sides[0] if len(set(sides)) == 1 else " x ".join(sides)
    part = "a brain" if part_of((*volume.sources, volume.contrast)) == "brain" else "a head"
    moved = ", ".join(prepared.registrations)
    return (
        (f"{moved} registered to {reference}, " if moved else "")
        + f"{' x '.join(map(str, volume.shape))} voxels of {size} mm, "
        f"{part} of {millilitres(volume.mask[0].numpy(), volume.affine):.0f} ml."
    )


def _sections(prepared: Prepared) -> list[Section]:
    volume, found = prepared.volume, prepared.registrations
    reference = next(name for name in prepared.after if name not in found)
    sections = []
    if found:
        rows = [
            (name, f"{r.shift:.2f}", f"{r.rotation:.2f}", f"{r.metric:.3f}", f"{r.overlap:.0%}")
            for name, r in found.items()
        ]
        boards = [
            figure_of(
                plots.checkerboards(images[reference], {n: images[n] for n in found}, volume.mask),
                f"Checkerboards of {reference} and {', '.join(found)} {when} registration, in three views.",
                f"{when.capitalize()} registration: {words}.",
            )
            for when, images, words in (
                ("before", prepared.before, "as the files' headers place them"),
                ("after", prepared.after, "edges of brain and ventricles go on from square to square"),
            )
        ]
        sections.append(
            Section(
                "Do the contrasts lie on each other?",
                f"Shift of the brain's middle in mm and rotation in degrees that {reference} needed of the others.",
                tuple(boards),
                (("contrast", "shift mm", "rotation degrees", "mutual information", "overlap"), *rows),
            )
        )
    images = {name: volume.source[i : i + 1] for i, name in enumerate(volume.sources)}
    if volume.target is not None:
        images[f"{volume.contrast}, acquired"] = volume.target
    sections.append(
        Section(
            "Do the intensities look like their contrasts?",
            "In T1w white matter is the brightest peak; in T2w CSF lies far to the right; in FLAIR to the left.",
            (
                figure_of(
                    plots.histograms(images, volume.mask),
                    f"Histograms of {', '.join(images)} inside the brain.",
                    "On the scale that the net sees.",
                ),
            ),
        )
    )
    return sections


def _look(prepared: Prepared, result: Volume | None) -> Section:
    """The images in three planes; without JavaScript the mask's outline and a slice of each."""
    volume, mask, kinds = prepared.volume, prepared.volume.mask, {}
    parts = dict(zip(volume.sources, volume.source[:, None], strict=True))
    if volume.target is not None:
        parts[volume.contrast] = volume.target
    shown = {}
    for kind, inside in parts.items():
        name = kind if kind in volume.sources else f"{kind}, acquired"
        shown[name], kinds[name] = inside, kind
        if kind in prepared.after:  # not cut at the mask
            shown[name] = torch.where(mask, inside, _scaled(prepared.after[kind], mask, kind))
    start = (next(iter(shown)), list(shown)[-1])
    title, said = "Is the brain in the mask, and nothing else?", ""
    if result is not None:
        name = f"{result.contrast}, synthetic"
        shown[name], kinds[name], start = required(result, "target"), result.contrast, (start[1], name)
        title = f"The {result.contrast} that was made"
        said = f"A translation can hide and invent. {CAUTION} It is for research and teaching, not for diagnosis. "
    reference = next(n for n in prepared.after if n not in prepared.registrations)
    edge = f"{reference} with the outline of the mask, in three views."
    figures = [figure_of(plots.outlines(prepared.after[reference], mask, reference), edge, "The mask's outline.")]
    box = roi_box(mask, (4, 4, 4))
    cut = {name: torch.where(mask, x, -1.0)[:, *box] for name, x in shown.items()}
    for view in (2, 1, 0) if result is not None else ():
        row = plots.image_row(cut, view=view, index=plots.busiest_slice(mask[:, *box], view))
        figures.append(figure_of(row, f"{', '.join(cut)} in one slice of each.", ""))
    explorer = planes(
        shown,
        mask,
        contrasts=kinds,
        start=start,
        spread=None if result is None else result.spread,
        spread_of=result.contrast if result is not None else "",
        other_mask=None if prepared.other_mask is None else torch.from_numpy(prepared.other_mask),
        cut=result is not None,
        spacing=volume.spacing,
    )
    said += "Outside the mask every image is cut away. Where it cuts brain or keeps skull, pass a mask with --mask."
    return Section(title, said, tuple(figures), explorer=explorer)


def _scaled(image: Tensor, mask: Tensor, contrast: str) -> Tensor:
    """An image in its own units as ``normalise`` brings it to [-1,1], but not cut at the mask."""
    low, high = WINDOWS.get(contrast) or intensity_window(image.numpy(), mask.numpy(), contrast)
    return (2 * (image - low) / (high - low) - 1).clamp(-1, 1)


def _made(volume: Volume, result: Volume, facts: Mapping[str, Any], scores: Mapping[str, float] | None) -> Section:
    """How the image was made, what is known of its model, and its scores."""
    table: list[tuple[str, ...]] = []
    if scores and volume.target is not None:
        image, target = (required(result, "target") + 1) / 2, (volume.target + 1) / 2
        matched = score(matched_to(image, target, volume.mask), target, volume.mask, data_range=1)
        rows = {"as it is": scores, "after the best gain and offset": matched}
        table = [("against the acquired image, inside the mask", "SSIM", "PSNR dB")]
        table += [(words, f"{found['ssim']:.3f}", f"{found['psnr']:.1f}") for words, found in rows.items()]
    return Section(
        "How it was made", "", table=tuple(table), facts=tuple((str(k), printable(str(v))) for k, v in facts.items())
    )


def figure_of(figure: Figure, alt: str, caption: str) -> Mapping[str, str]:
    """A picture of a page: its PNG inside, its words."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return {
        "source": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "alt": alt,
        "caption": caption,
    }
