"""How work, time and memory of sampling grow with voxels, steps and averaged samples: exponents of power laws."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Config
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import translate
from yoda_papers.bench.baseline import ellipsoid
from yoda_papers.bench.memory import _in_new_process, save_untrained

SIDES = (24, 32, 48, 64)  # of a cube around the brain
STEPS = (3, 6, 12)  # views take turns: as many of each
N_EX = (2, 4, 8)  # one sample needs no running sum
REPEATS = 3  # of which the fastest counts
BATCH = 2  # slabs at once: what is kept for each voxel, step or sample shows beside what the net takes


def growth(config: Config, *, seed: int = 0, memory: bool = True, sides: Sequence[int] = SIDES) -> dict:
    """Of ``yoda-expa`` with an untrained net on a CPU: measured gflop, CPU seconds and peak MB, and their exponents.

    One thing grows at a time, from three steps of one sample on a cube of ``sides[1]``. CPU seconds do not count what
    else the machine does. Memory is the growth of a new process's peak.
    """
    base = {"side": sides[1], "n_steps": STEPS[0], "n_ex": 1}
    kinds: dict[str, tuple[str, Sequence[int]]] = {
        "voxels": ("side", sides),
        "n_steps": ("n_steps", STEPS),
        "n_ex": ("n_ex", N_EX),
    }
    found: dict = {"growth": {}}
    with TemporaryDirectory() as folder:
        model = save_untrained(config, Path(folder), seed)
        _work(model, seed, **base)  # whatever is loaded at first use
        cases = [(kind, name, value) for kind, (name, values) in kinds.items() for value in values]
        with tqdm(cases, desc="growth", mininterval=1) as bar:
            for kind, name, value in bar:
                settings = base | {name: value}
                use = _work(model, seed, **settings)
                if memory:
                    use["mb"] = _peak(model, seed, **settings)
                x = value**3 if kind == "voxels" else value
                for what, amount in use.items():
                    found["growth"].setdefault(f"{what}_by_{kind}", {})[x] = amount
    laws = {f"exponent_{name}": exponent(points) for name, points in found["growth"].items()}
    return found | laws


def exponent(points: Mapping[int, float]) -> float:
    """p of the power law y = c x^p that is nearest to points x -> y, in logarithms."""
    x, y = np.log(list(points)), np.log(list(points.values()))
    return float(np.polyfit(x, y, 1)[0])


def _work(model: Path, seed: int, *, side: int, n_steps: int, n_ex: int) -> dict[str, float]:
    """gflop and CPU seconds of one image, at best: what shares the cores can only add."""
    sources = load_model(str(model)).sources
    source, mask = ellipsoid((side,) * 3, len(sources), seed)
    volume = Volume(source, mask, np.diag([3.0, 3.0, 3.0, 1.0]), sources, subject="bench")
    how = {"model": str(model), "n_steps": n_steps, "n_ex": n_ex, "batch_size": 16, "jump_to": None}
    with FlopCounterMode(display=False) as counter:
        translate(volume, "yoda-expa", seed=seed, device="cpu", **how)
    marks = [time.process_time()]
    for _ in range(REPEATS):
        translate(volume, "yoda-expa", seed=seed, device="cpu", **how)
        marks.append(time.process_time())
    return {"gflop": counter.get_total_flops() / 1e9, "seconds": float(np.diff(marks).min())}


def _peak(model: Path, seed: int, *, side: int, n_steps: int, n_ex: int) -> float:
    how = {"n_steps": n_steps, "n_ex": n_ex, "batch_size": BATCH}
    return _in_new_process(model=str(model), roi=[side] * 3, seed=seed, device="cpu", **how)
