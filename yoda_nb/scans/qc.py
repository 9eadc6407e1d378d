"""One page of quality control for each subject: what was done to its files, and what to look at. Offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from yoda_nb.errors import InputError, printable
from yoda_nb.figures import plots
from yoda_nb.images.masks import millilitres
from yoda_nb.images.space import roi_box
from yoda_nb.images.units import part_of
from yoda_nb.images.volumes import UNKNOWN, Volume
from yoda_nb.preparation.prepare import Prepared
from yoda_nb.report.pages import render_page
from yoda_nb.store import write_atomic


@dataclass(frozen=True)
class Section:
    """A heading, a sentence, pictures, a table whose first row names its columns."""

    title: str
    text: str
    figures: tuple[Mapping[str, str], ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


def write_qc(
    prepared: Prepared, path: str | Path, *, result: Volume | None = None, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write the page of a prepared subject, and of the image made of it (``result.target``) if there is one.

    ``facts`` are shown as a table: model, system, scores. The file needs no other and no network, and
    appears whole or not at all. Raises InputError where it cannot be written.
    """
    path = Path(path)
    volume = prepared.volume
    page = render_page(
        "qc.html.j2",
        title=f"Quality control: {printable(volume.subject)}" if volume.subject != UNKNOWN else "Quality control",
        lead=_lead(prepared),
        warnings=[printable(sentence) for sentence in prepared.warnings],
        sections=[*_sections(prepared), *([_made(prepared, result, facts or {})] if result is not None else [])],
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
    sections.append(
        Section(
            "Is the brain in the mask, and nothing else?",
            "Outside the line every image is cut away. Where it cuts brain or keeps skull, pass a mask with --mask.",
            (
                figure_of(
                    plots.outlines(prepared.after[reference], volume.mask, reference),
                    f"{reference} with the outline of the brain mask, in three views.",
                    "The mask's outline.",
                ),
            ),
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


def _made(prepared: Prepared, result: Volume, facts: Mapping[str, Any]) -> Section:
    assert result.target is not None
    volume = prepared.volume
    shown = {name: volume.source[i : i + 1] for i, name in enumerate(volume.sources)}
    shown[f"{result.contrast}, made"] = result.target
    if volume.target is not None:
        shown[f"{volume.contrast}, acquired"] = volume.target
    brain = roi_box(volume.mask, (4, 4, 4))
    shown, mask = {name: image[:, *brain] for name, image in shown.items()}, volume.mask[:, *brain]
    rows = [plots.image_row(shown, view=view, index=plots.busiest_slice(mask, view)) for view in (2, 1, 0)]
    return Section(
        f"The {result.contrast} that was made",
        "A translation can hide and invent. It is for research and teaching, not for diagnosis.",
        tuple(figure_of(row, f"{', '.join(shown)} in one slice of each.", "") for row in rows),
        (("", "value"), *((str(k), printable(str(v))) for k, v in facts.items())) if facts else (),
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
