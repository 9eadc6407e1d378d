"""What each system of the benchmark is, and what it takes to train and to run [YODA Table I]."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import n_parameters
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import load_model
from yoda_nb.systems.papers import PAPERS, TRAININGS
from yoda_nb.systems.run import translate
from yoda_nb.systems.table import get_system
from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.rows import BUDGET, Training
from yoda_papers.yoda.benchmark import Entry, entries

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study


def cost(study: Study) -> pd.DataFrame:
    """What each system is and takes, trained or not; seconds are those of this machine, one run.

    Columns system, paper, sources, trained, paired, parameters, slabs (seen in training, in units
    of the shared budget), training (its operations, TFLOP), evaluations (at most), slices (that the
    net ran on, for one subject), seconds (a subject, nothing from the bank).
    """
    subject, rows = study.volumes[0], []
    for entry in entries(study):
        row = {
            "system": entry.label,
            "paper": PAPERS[entry.paper].TITLE,
            "trained": entry.trained,
            "evaluations": get_system(entry.system, **entry.needed).evaluations,
        }
        rows.append(row | (_measured(study, subject, entry) if entry.trained else {}))
    return pd.DataFrame(rows)


def _measured(study: Study, v: Volume, entry: Entry) -> dict[str, object]:
    model, count = load_model(entry.weights), []
    run = partial(translate, v, entry.system, seed=study.seed, model=entry.weights, device=study.device or None)
    few = min(2, get_system(entry.system, **entry.needed).n_steps)
    hook = model.net.register_forward_hook(lambda net, given, out: count.append(len(out)))
    try:
        run(**{**entry.needed, "n_steps": few})  # the first run of a net also prepares it
        count.clear()
        begun = time.perf_counter()
        run(**entry.needed)
        seconds = time.perf_counter() - begun
    finally:
        hook.remove()
    card = model.card
    row = TRAININGS.get(entry.weights.rpartition("/")[2])
    return {
        "sources": "+".join(model.sources),
        "paired": not card.get("unpaired", False),
        "parameters": n_parameters(model.net),
        "slabs": card["training"].get("slabs_seen", np.nan) / BUDGET,
        "training": training_tflop(row) if row else np.nan,
        "slices": sum(count),
        "seconds": seconds,
    }


class Counted(TorchDispatchMode):
    """Counts operations as torch's FlopCounterMode does, whose hooks of modules no gradient penalty runs under."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func.overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


def training_tflop(row: Training) -> float:
    """10^12 operations of a row's training, two for each multiply-add, by those of one step of every player."""
    config = row.config
    look: dict[str, Any] = {"sources": row.sources, "target": row.target, **row.phantoms}
    pool = make_pool([phantom_case(seed, spacing=6.0, shape=(40, 44, 40), **look) for seed in (0, 1)], config)
    batch, nets = draw_batch(pool, config, 0), config.method.build(config)
    with Counted() as counted:
        for player in config.method.players:
            for name, net in nets.items():
                net.requires_grad_(name in player.nets)
            player.loss(nets, batch, config).backward()
    return counted.flops * config.steps / 1e12


TABLES = {"benchmark-cost": cost}
