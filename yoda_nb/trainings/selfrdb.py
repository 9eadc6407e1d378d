"""The self-consistent recursive bridge that seed 000 compares with: T2w is its prior."""

from __future__ import annotations

from yoda_nb.nets import UNetConfig
from yoda_nb.trainings.base import Training, base

TRAININGS = {
    "selfrdb": Training(
        "SelfRDB",
        base(
            UNetConfig((16, 32, 48, 48), recursive=True), method="selfrdb", schedule="selfrdb", n_train=10,
            target="x0", options=(("prior", 1),),  # of the sources T1w and T2w
        ),
    )
}  # fmt: skip
