"""Make the README's figure: every sampler on one phantom. Run by ``make figure``."""

from pathlib import Path

from yoda_nb import plots, study

first = study.load_subjects(1)
images = study.all_samplers(first, study.get_profile("quick"))
(volume,) = first
names = ("diffusion", "ExpA 10", "regression", "noised 1")
shown = {"truth": volume.clean, "acquired": volume.target, **{k: images[k][0] for k in names}}
figure = plots.comparison(shown, volume.clean, reference_name="noise-free truth",
                          index=plots.best_slice(volume.mask, volume.lesions))  # fmt: skip
figure.savefig(Path(__file__).parent / "figure1.png", dpi=110)
