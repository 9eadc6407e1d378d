"""The figure of docs/findings.md: every sampler on one phantom (``yoda-nb rebuild figure``)."""

from __future__ import annotations

from matplotlib.figure import Figure

from yoda_nb import study
from yoda_nb.figures import plots
from yoda_nb.nets.devices import find_device

SHOWN = ("diffusion", "ExpA 10", "regression", "noised 1")


def readme_figure(device: str | None = None) -> Figure:
    """Images of the first test phantom above, their differences to its noise-free truth below."""
    find_device(device)
    (volume,) = study.load_subjects(1)
    images = study.all_samplers([volume], study.get_profile("quick"), device=device)
    assert volume.clean is not None and volume.target is not None  # a phantom's
    shown = {"truth": volume.clean, "acquired": volume.target, **{name: images[name][0] for name in SHOWN}}
    index = plots.best_slice(volume.mask, volume.lesions)
    return plots.comparison(shown, volume.clean, reference_name="noise-free truth", index=index)
