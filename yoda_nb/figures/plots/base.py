"""How figures look and are shown, and those of samplers and of noise.

Colours are Okabe and Ito's, and every series has its own marker.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

# family of samplers -> (colour, marker); the first word of a sampler's label is its family
FAMILIES = {
    "regression": ("#0072B2", "o"),
    "noised": ("#56B4E9", "v"),
    "DDIM": ("#E69F00", "s"),
    "Heun": ("#CC79A7", "v"),
    "DPM++": ("#882255", "D"),
    "ExpA": ("#009E73", "D"),
    "diffusion": ("#D55E00", "^"),
    "truth": ("#000000", "*"),
    "acquired": ("#7F7F7F", "P"),
}
STYLE: Any = {  # settings of matplotlib, which names every one of them in its types
    "figure.dpi": 110,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
FIGURE_MIME = "application/vnd.yoda-nb.figure+json"  # the files of a figure, for the report


def show_figure(
    fig: Figure, *, alt: str, caption: str = "", name: str = "", table: pd.DataFrame | None = None, evidence: str = ""
) -> None:
    """Display a figure with real alternative text and a caption, in Jupyter and in reports.

    ``evidence`` says what the numbers rest on (``ledger.evidence.basis``) and ends the caption. A report also
    keeps the figure as SVG and PNG under ``name``, and ``table``, the plotted numbers, as CSV.
    """
    from IPython.display import display

    data = base64.b64encode(_rendered(fig, "png")).decode()
    picture = f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" style="max-width:100%">'
    rests_on = f'<span class="evidence">{html.escape(evidence)}</span>' if evidence else ""
    text = " ".join(part for part in (html.escape(caption), rests_on) if part)
    note = f"<figcaption>{text}</figcaption>" if text else ""
    shown: dict[str, Any] = {"text/html": f"<figure>{picture}{note}</figure>", "text/plain": alt}
    if "YODA_NB_REPORT" in os.environ:
        shown[FIGURE_MIME] = _files(fig, alt, name, table)
    plt.close(fig)
    display(shown, raw=True)


def _files(fig: Figure, alt: str, name: str, table: pd.DataFrame | None) -> dict[str, str | None]:
    """The figure for print and reuse, stamped with what made it; no clock, so that bytes repeat."""
    stamp = os.environ.get("YODA_NB_STAMP", "yoda-nb")
    about = {"Title": name or alt, "Description": alt}
    with plt.rc_context({"svg.hashsalt": "yoda-nb"}):
        svg = _rendered(fig, "svg", metadata={**about, "Creator": stamp, "Date": None}).decode()
    png = _rendered(fig, "png", dpi=200, metadata={**about, "Software": stamp})
    indexed = table is not None and any(label is not None for label in table.index.names)
    return {
        "name": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "figure",
        "svg": svg,
        "png": base64.b64encode(png).decode(),
        "csv": None if table is None else table.to_csv(index=indexed, lineterminator="\n"),
    }


def _rendered(fig: Figure, kind: str, **settings) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format=kind, **settings)
    return buffer.getvalue()


def save_page_figure(fig: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure of the documents: a PNG of 256 colours has a third of the bytes, and looks the same."""
    with Image.open(io.BytesIO(_rendered(fig, "png", dpi=dpi))) as image:
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def rician_figure(table: pd.DataFrame) -> Figure:
    """Bias and spread of Rician noise in units of sigma, measured and by law; columns snr,
    bias, std, bias_law, std_law."""
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(1, 2, figsize=(8, 2.9), layout="constrained")
        for ax, what, gaussian in zip(axes, ("bias", "std"), (0, 1), strict=True):
            ax.plot(table.snr, table[f"{what}_law"], color="#0072B2", label="Rician law")
            ax.plot(table.snr, table[what], "o", color="#D55E00", ms=5, label="measured")
            ax.axhline(gaussian, color="k", ls=":", label="Gaussian")
            ax.axvline(2, color="0.5", ls="--", lw=1)
            ax.text(2.1, ax.get_ylim()[1], "SNR = 2", va="top", fontsize=8, color="0.3")
            ax.set(xlabel="SNR = noise-free signal / $\\sigma$", ylabel=f"{what} / $\\sigma$", xscale="log")
        axes[0].legend(frameon=False)
    return fig


TERMS = {
    "mse_clean": ("noise-free images", "#0072B2", ""),
    "acquisition_noise": ("acquisition noise", "#E69F00", "//"),
    "generation_noise": ("generation noise", "#009E73", ".."),
}


def split_figure(table: pd.DataFrame) -> Figure:
    """Stacked terms of the mean squared error beside the measured whole; one row a case with
    columns label, total and the names in ``TERMS``."""
    with plt.rc_context(STYLE):
        fig, ax = plt.subplots(figsize=(7.2, 3.1), layout="constrained")
        at, below = np.arange(len(table)), np.zeros(len(table))
        for column, (name, colour, hatch) in TERMS.items():
            ax.bar(
                at - 0.2,
                table[column] * 1e3,
                0.38,
                bottom=below,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=f"MSE term: {name}",
            )
            below += table[column].to_numpy() * 1e3
        ax.bar(at + 0.2, table.total * 1e3, 0.38, color="0.6", edgecolor="white", label="MSE as measured")
        ax.set_xticks(at, table.label)
        ax.set(ylabel="mean squared error (x 1000)", xlabel="generation noise added, as a share of the acquisition's")
        ax.legend(frameon=False, fontsize=8, loc="upper left")
        ax.set_ylim(top=1.35 * max(below.max(), table.total.max() * 1e3))
    return fig


def sampler_plane(
    table: pd.DataFrame,
    x: str,
    y: str,
    *,
    x_label: str,
    y_label: str,
    lines: Mapping[str, float] | None = None,
    invert_x: bool = False,
) -> Figure:
    """Samplers as labelled points on a plane, families joined by lines (Fig. 2).

    ``table`` has one row a sampler, with columns sampler, ``x``, ``y``; ``lines`` are horizontal
    reference values of y by name.
    """
    with plt.rc_context(STYLE):
        fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
        families = table.assign(family=table.sampler.str.split().str[0])
        for family, group in families.groupby("family", sort=False):
            colour, marker = FAMILIES.get(family, ("k", "x"))
            sns.lineplot(
                group,
                x=x,
                y=y,
                ax=ax,
                color=colour,
                marker=marker,
                markersize=9,
                sort=False,
                lw=1,
                estimator=None,
                label=family,
            )
            for row in group.to_dict("records"):
                below = family in ("ExpA", "diffusion")  # these families run close to DDIM's
                ax.annotate(
                    row["sampler"],
                    (row[x], row[y]),
                    xytext=(6, -12 if below else 5),
                    textcoords="offset points",
                    fontsize=8,
                    color=colour,
                )
        for name, value in (lines or {}).items():
            ax.axhline(value, color="0.4", ls="--", lw=1)
            ax.annotate(
                name,
                (0.99, value),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=8,
                color="0.3",
            )
        if invert_x:
            ax.invert_xaxis()
        ax.margins(0.12)
        ax.set(xlabel=x_label, ylabel=y_label)
        ax.legend(frameon=False, fontsize=8)
    return fig
