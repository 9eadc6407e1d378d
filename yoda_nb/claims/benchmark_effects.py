"""Effects on the table of all systems (seed 000, Tables I-III)."""

from __future__ import annotations

from yoda_nb.claims.verdicts import Effect, paired_effect
from yoda_nb.evidence import Study

# as seed 000 names them -> the system that stands for each, "" for those that are not in the project
RIVALS = {"SelfRDB": "selfrdb", "SynDiff": "syndiff-paired", "ALDM": "", "ResViT": "", "Ea-GAN": ""}
REGRESSION = "yoda-regression"


def regression_over_rivals(study: Study) -> list[Effect]:
    """Y29: SSIM and PSNR to the acquired image, each margin 0, for the rivals that are here.

    Those that are not count as an effect of unknown size. So one rival that does better refutes the
    claim, but a claim about five is not reproduced with two.
    """
    table = study.table("benchmark")
    table = table[table.reference == "acquired"]
    known = set(table.sampler)
    here = {paper: system for paper, system in RIVALS.items() if {system, REGRESSION} <= known}
    names = {REGRESSION: "regression"} | {system: paper for paper, system in here.items()}
    named = table.replace({"sampler": names})
    effects = [
        paired_effect(named, metric, "regression", rival, ">", unit=unit)
        for rival in here
        for metric, unit in (("ssim", ""), ("psnr", "dB"))
    ]
    if missing := [rival for rival in RIVALS if rival not in here]:
        unknown = [float("nan")] * 3
        name = f"regression less {', '.join(missing)} (not here)"
        effects.append(Effect(name, *unknown, len(missing), ">", test="n counts rivals"))
    return effects


EFFECTS = {"Y29": regression_over_rivals}
NOTES = {
    "Y29": "Two of the five rivals are here, SelfRDB and SynDiff (adapted to pairs, as the paper did), each a 2D net "
    "trained at YODA's budget of slabs. ALDM, ResViT and Ea-GAN are not: they count as unknown, so the claim can be "
    "refuted here but not reproduced. The budget is small, and YODA's net spends it on all noise levels and three "
    "views; 'yoda-regression, long' in notebook 24 is the shipped model, with more training, and not in the verdict.",
}
