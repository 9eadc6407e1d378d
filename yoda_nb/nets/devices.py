"""Where a net runs: the devices of this machine by name."""

from __future__ import annotations

import torch

from yoda_nb.errors import InputError


def find_device(name: str | torch.device | None = None) -> torch.device:
    """The device of a name: cpu, cuda or cuda:1; without a name the GPU if there is one, else the CPU.

    Raises InputError, naming the devices of this machine, for any other name and for a GPU that is not here.
    """
    gpus = torch.cuda.device_count()
    if not name:
        return torch.device("cuda" if gpus else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):  # a word that torch does not know
        device = None
    if device is not None and (device.index or 0) < {"cpu": 1, "cuda": gpus}.get(device.type, 0):
        return device
    here = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{k}" for k in range(gpus))]
    raise InputError(f"There is no device {str(name)!r} here: choose {' or '.join(here)}.")


def device_here(name: object) -> str | None:
    """The GPU of a worker of this name: those that are counted take one each; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    return f"cuda:{int(str(name)) % torch.cuda.device_count()}" if str(name).isdigit() else "cuda"
