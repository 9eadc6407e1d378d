"""The README's forest plot: effects of the headline claims with their 95 % intervals.

Run ``python docs/make/forest.py``. It reads what ``yoda-nb claims --json`` prints and writes docs/claims.webp.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from yoda_papers.ledger import Study, find

OUT = Path(__file__).parents[1] / "claims.webp"
# claim, beginning of the effect's name, what it says to a reader; all are differences of PSNR in dB
ROWS = (
    ("Y03", "PSNR, regression", "Regression minus one diffusion sample"),
    ("Y04", "PSNR, ExpA", "Average of two samples minus one"),
    ("Y16", "PSNR", "Truncated minus full schedule"),
    ("Y18", "PSNR", "Linear minus cosine schedule (averages)"),
    ("Y21", "PSNR", "Three views minus one view"),
    ("Y27", "PSNR", "Trained for regression alone minus YODA"),
    ("Y29", "PSNR, regression less SelfRDB", "Regression minus SelfRDB"),
    ("Y29", "PSNR, regression less SynDiff", "Regression minus SynDiff"),
)
COLOURS = {"reproduced": "#0072B2", "not reproduced": "#D55E00"}
MARKERS = {"reproduced": "o", "not reproduced": "X"}


def main() -> None:
    findings = {finding.claim.id: finding for finding in find({claim for claim, _, _ in ROWS}, study=Study())}
    effects = []
    for claim, name, label in ROWS:
        effect = next(e for e in findings[claim].effects if e.name.startswith(name))
        effects.append((f"{label}  [{claim}]", effect))
    figure, axes = plt.subplots(figsize=(7.6, 3.6), layout="constrained")
    for k, (_, e) in enumerate(reversed(effects)):
        colour, marker = COLOURS.get(e.verdict, "#555555"), MARKERS.get(e.verdict, "D")
        axes.plot([e.low, e.high], [k, k], color=colour, linewidth=2)
        axes.plot(e.value, k, marker, color=colour, markersize=7, markeredgecolor="white")
        text = f"{e.value:+.2f}".replace("-0.00", "0.00")
        axes.annotate(text, (e.high, k), (6, -3), textcoords="offset points", fontsize=8)
    axes.set_yticks(range(len(effects)), [label for label, _ in reversed(effects)])
    axes.axvline(0, color="#555555", linewidth=1)
    axes.axvspan(-0.1, 0.1, color="#999999", alpha=0.25, linewidth=0)
    axes.set_xlabel("PSNR difference in dB, 95 % interval (grey: equal)")
    axes.margins(x=0.12)
    for verdict in COLOURS:
        axes.plot([], [], MARKERS[verdict], color=COLOURS[verdict], label=f"claim {verdict}")
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.6), fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(OUT, dpi=150, facecolor="white")
    print(OUT, [(label, round(e.value, 3), e.name) for label, e in effects])


if __name__ == "__main__":
    main()
