"""The report's findings in three sentences: their numbers, and the words that the numbers allow.

A sentence is built from the effects of the claims that it names. What was not measured in a report is left out of it,
and a difference whose interval includes zero is said to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from yoda_nb.report.ledger import distinct, number

Find = Callable[[str, str], Mapping[str, Any] | None]  # a claim's effect by the words that its name begins with


def sentences(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """At most three: ``html``, the findings ``claims`` that it rests on, and over how many subjects (``n``)."""
    claims: dict[str, Mapping[str, Any]] = {}
    for finding in distinct(found):
        claims.setdefault(finding["id"], finding)
    told = []
    for write in (_distortion, _realism, _lesions):
        used: dict[str, Mapping[str, Any]] = {}
        counts: set[int] = set()

        def find(claim: str, words: str, used: dict = used, counts: set = counts) -> Mapping[str, Any] | None:
            for effect in claims.get(claim, {}).get("effects", ()):
                if effect["name"].startswith(words) and None not in map(effect.get, ("value", "low", "high")):
                    used[claim] = claims[claim]
                    counts.update({effect["n"]} if effect.get("n") else ())
                    return effect
            return None

        if html := write(find):
            told.append({"html": html, "claims": list(used.values()), "n": sorted(counts)})
    return told


def _distortion(find: Find) -> Markup | None:
    ssim, psnr = find("Y03", "SSIM, regression"), find("Y03", "PSNR, regression")
    scored = [
        Markup("{} in {}").format(_apart(effect, "higher", "lower"), name)
        for effect, name in ((ssim, "SSIM"), (psnr, "PSNR"))
        if effect
    ]
    if not scored:
        return None
    text = Markup("Measured against acquired images, regression scores {} than one diffusion sample.")
    return text.format(Markup(" and ").join(scored))


def _realism(find: Find) -> Markup | None:
    gap, noised = find("Y07", "distance to the acquired noise, and FD"), find("Y08", "FD, regression less noised")
    parts = []
    if gap:
        words = "rises with" if gap["low"] > 0 else "falls with" if gap["high"] < 0 else "is not surely linked to"
        text = Markup(
            "The Fréchet distance, by which realism is judged, {} the gap between an image's noise and the "
            "acquisition's (rank correlation {})"
        )
        parts.append(text.format(words, _interval(gap, unit="")))
    if noised:
        text = Markup("noise added to the regression image leaves it {}")
        if not gap:
            text = Markup("Noise added to the regression image leaves its Fréchet distance to acquired images {}")
        parts.append(text.format(_apart(noised, "lower", "higher")))
    return Markup("{}.").format(Markup("; ").join(parts)) if parts else None


def _lesions(find: Find) -> Markup | None:
    contrast, dice = find("Y24", "lesion contrast, regression"), find("Y25", "Dice, regression")
    parts = []
    if contrast:
        text = Markup("lesions in regression images have a contrast {} the true one")
        parts.append(text.format(_apart(contrast, "above", "below", unit="%")))
    if dice:
        text = Markup("a segmenter's Dice on regression images lies {} that on acquired ones")
        parts.append(text.format(_apart(dice, "above", "below")))
    told = Markup(", and ").join(parts)
    return Markup("{}{}.").format(told[:1].upper(), told[1:]) if parts else None


def _apart(effect: Mapping[str, Any], more: str, less: str, unit: str | None = None) -> Markup:
    """A difference in words: its size and the side it lies on, or that its side is not sure."""
    if effect["high"] < 0:
        mirrored = {**effect, "value": -effect["value"], "low": -effect["high"], "high": -effect["low"]}
        return Markup("{} {}").format(_interval(mirrored, unit), less)
    side = more if effect["low"] > 0 else f"{more} (zero is not excluded)"
    return Markup("{} {}").format(_interval(effect, unit), side)


def _interval(effect: Mapping[str, Any], unit: str | None = None) -> Markup:
    """Value and 95 % interval with a unit, by default the effect's own, in one piece."""
    unit = effect.get("unit", "") if unit is None else unit
    value, low, high = (number(effect[name]) for name in ("value", "low", "high"))
    text = Markup('<span class="interval"><strong>{}</strong> [{}, {}]</span>')
    return text.format(f"{value} {unit}".strip(), low, high)
