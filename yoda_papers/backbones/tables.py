"""Evidence on what backbones cost [Koch Table 2], and the tables of all that it claims."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from yoda_nb.nets.base import Config, autocast_dtype, n_parameters
from yoda_nb.nets.devices import find_device
from yoda_nb.systems.papers import TRAININGS
from yoda_papers.backbones import PAPER, convergence, patches, sweep

if TYPE_CHECKING:
    from yoda_papers.ledger.evidence import Study

SIDE = {"here": 48, "paper": 256}  # of the slices that operations are counted for
BATCH, REPEATS, PAPER_REPEATS = 16, 7, 5  # of a timing


def cost(study: Study) -> pd.DataFrame:
    """Parameters, operations and throughput of the four backbones (Table 2).

    Columns system, size ("here" | "paper"), side, parameters (million), gflops (two for each
    multiply-add, one slice of ``side``), repeat, rate (batches of 16 slices a second on this machine;
    at the paper's sizes slices, of nets without training; nan in the tests' profile, which only counts those).
    """
    here = {name: TRAININGS[name].config.net for name in PAPER}
    repeats = 2 if study.profile == "tiny" else REPEATS
    rows = [_costs(name, here[name], "here", k, rate) for name, k, rate in _rates(study, here, "here", BATCH, repeats)]
    if study.profile == "tiny":
        return pd.DataFrame([*rows, *(_costs(name, net, "paper", 0, np.nan) for name, net in PAPER.items())])
    timings = _rates(study, PAPER, "paper", 1, PAPER_REPEATS)
    return pd.DataFrame([*rows, *(_costs(name, PAPER[name], "paper", k, rate) for name, k, rate in timings)])


def _costs(name: str, net: Config, size: str, repeat: int, rate: float) -> dict[str, object]:
    return {"system": name, **counted(net, size), "repeat": repeat, "rate": rate}


def counted(config: Config, size: str) -> dict[str, object]:
    """What a net of this configuration costs, on a device that computes nothing."""
    side = SIDE[size]
    with torch.device("meta"):
        net, slabs, times = config.build(), torch.empty(1, 1 + config.n_sources, side, side), torch.empty(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(slabs, times)
    return {
        "size": size,
        "side": side,
        "parameters": n_parameters(net) / 1e6,
        "gflops": counter.get_total_flops() / 1e9,
    }


@torch.inference_mode()
def _rates(
    study: Study, configs: Mapping[str, Config], size: str, batch: int, repeats: int
) -> Iterator[tuple[str, int, float]]:
    """Batches a second, the backbones in turn so that a busy machine slows all alike."""
    device = find_device(study.device)
    dtype = autocast_dtype(device)
    nets = {name: config.build().to(device).eval() for name, config in configs.items()}
    side, passes = SIDE[size], 5 if size == "here" else 1
    times = torch.zeros(batch, device=device)
    for repeat in range(1 + repeats):  # the first warms up
        for name, net in nets.items():
            slabs = torch.randn(batch, 1 + configs[name].n_sources, side, side, device=device)
            begun = time.perf_counter()
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                for _ in range(passes):
                    net(slabs, times).sum().item()
            if repeat:
                yield name, repeat, passes / (time.perf_counter() - begun)


TABLES = {**sweep.TABLES, **patches.TABLES, "backbones_cost": cost, **convergence.TABLES}
