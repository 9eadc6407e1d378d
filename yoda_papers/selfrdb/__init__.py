"""SelfRDB, the self-consistent recursive bridge that YODA compares with (Arslan et al. 2024): T2w is its prior."""

from __future__ import annotations

from yoda_nb.diffusion.slabs import AXIAL
from yoda_nb.diffusion.system import System
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.training.rows import MORE_SEEDS, Training, base, deciding
from yoda_papers.selfrdb.method import SELFRDB
from yoda_papers.selfrdb.process import Recursive

TITLE = "SelfRDB (Arslan et al. 2024)"
NETS = ()
TRAININGS = {
    "selfrdb": Training(
        "SelfRDB",
        base(
            UNetConfig((16, 32, 48, 48), recursive=True),
            method=SELFRDB,
            schedule="selfrdb",
            n_train=10,
            prediction="x0",
            options=(("prior", 1),),  # of the sources T1w and T2w
        ),
    )
}
TRAININGS |= deciding(TRAININGS, "selfrdb", MORE_SEEDS)
SYSTEMS = (
    System(
        "selfrdb",
        "bridge from T2w with a soft prior, each x0 iterated to self-consistency",
        "Arslan et al. 2024, arXiv 2405.06789; competitor of YODA",
        Recursive(),
        weights="systems/selfrdb",
        views=(AXIAL,),
        n_steps=10,
    ),
)
