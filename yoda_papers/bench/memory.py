"""Peak memory of ``translate`` for several numbers of samples and steps, each in a new process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import Config
from yoda_nb.nets.models import save_model
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import translate
from yoda_papers.bench.baseline import ellipsoid, random_net

# (n_ex, n_steps, batch size): the first as used; the others in batches so small that the net takes
# little and any volume kept for each sample or step would show (several samples need a running sum,
# two volumes, that one alone does not)
RUNS = ((1, 3, 16), (1, 3, 2), (6, 3, 2), (1, 18, 2))


def memory_use(config: Config, roi: Sequence[int], *, seed: int = 0, device: str = "cpu") -> dict:
    """Growth of the peak in MB of ``RUNS``, and what more samples and more steps multiply it by.

    Resident memory of the process on a CPU, allocated memory of the device on CUDA.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = save_untrained(config, Path(folder), seed)
        growth = [
            _in_new_process(
                model=str(model),
                roi=list(roi),
                seed=seed,
                device=device,
                n_ex=n_ex,
                n_steps=n_steps,
                batch_size=batch_size,
            )
            for n_ex, n_steps, batch_size in RUNS
        ]
    _, one, more_samples, more_steps = growth
    return {
        "memory": [
            {"n_ex": n_ex, "n_steps": n_steps, "batch_size": batch_size, "peak_growth_mb": mb}
            for (n_ex, n_steps, batch_size), mb in zip(RUNS, growth, strict=True)
        ],
        "memory_ratio_n_ex": more_samples / one,
        "memory_ratio_n_steps": more_steps / one,
    }


def save_untrained(config: Config, folder: Path, seed: int) -> Path:
    """A model of an untrained net, as a file that ``translate`` takes."""
    card = {
        "sources": [f"S{k}" for k in range(config.n_sources)],
        "target": "T",
        "spacing_mm": 3.0,
        "schedule": "linear",
        "n_train": 1000,
        "prediction": "v",
        "training": {},
    }
    path = folder / "untrained.safetensors"
    save_model(random_net(config, seed), path, config=config, card=card)
    return path


def peak_growth(*, model: str, roi: Sequence[int], seed: int, device: str, batch_size: int, **steps: int) -> float:
    """MB by which one ``translate`` raises the peak of this process, which must be a new one.

    ``steps`` are ``n_ex`` and ``n_steps``; ``model`` is the path of its .safetensors file.
    """
    sources = load_model(model).sources
    source, mask = ellipsoid(roi, len(sources), seed)
    volume = Volume(source, mask, np.diag([3.0, 3.0, 3.0, 1.0]), sources, subject="bench")
    before = _peak_mb(device)
    translate(volume, "yoda-expa", seed=seed, device=device, model=model, batch_size=batch_size, jump_to=None, **steps)
    return _peak_mb(device) - before


def child() -> None:
    """Entry of the new process: settings as JSON on the command line, the answer on stdout."""
    print(peak_growth(**json.loads(sys.argv[1])))


def _in_new_process(**settings) -> float:
    command = [sys.executable, "-c", "from yoda_papers.bench.memory import child; child()"]
    threads = str(torch.get_num_threads())
    path = os.pathsep.join(p for p in sys.path if p)  # also where the package is not installed
    done = subprocess.run(
        [*command, json.dumps(settings)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": path},
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"The memory run stopped with code {done.returncode}: {last}")
    return float(done.stdout)


def _peak_mb(device: str) -> float:
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        # not ru_maxrss: on Linux a child starts with its parent's
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS
