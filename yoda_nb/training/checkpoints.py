"""Checkpoints of a run: written whole or not at all, read only where they are of the same run."""

from __future__ import annotations

import json
import os
import zipfile
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import atomic
from yoda_nb.training.batches import TrainConfig

LOG = "log.jsonl"


def _fingerprint(config: TrainConfig) -> str:
    return json.dumps(config.document(), sort_keys=True)


def save_checkpoint(out: Path | None, state: dict, config: TrainConfig, entry: dict, data: str) -> None:
    """Write the state of a run, and before it the line of its log: a run that goes on drops lines that lead ahead."""
    if out is None:
        return
    blob = {k: v.state_dict() for k, v in state.items()}
    blob |= {k: entry[k] for k in ("step", "seconds")} | {"config": _fingerprint(config), "data": data}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(out / LOG, "a") as log:
            log.write(json.dumps(entry) + "\n")
        with atomic(out / "checkpoint.pt") as part:
            torch.save(blob, part)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk as a RuntimeError
        raise InputError(f"cannot write the run to {out}: check free space and permissions.") from error


def load_checkpoint(out: Path | None, state: dict, config: TrainConfig, data: str) -> tuple[int, float]:
    """Restore a run in place; the step to go on with and the seconds so far, zeros for a new run."""
    if out is None:
        return 0, 0.0
    path = out / "checkpoint.pt"
    step, seconds = _restored(path, state, config, data) if path.exists() else (0, 0.0)
    if os.environ.get("RANK", "0") == "0":  # under torchrun one process tidies up
        _tidy(out, step)
    return step, seconds


def read_log(out: Path) -> list[dict[str, Any]]:
    """The entries of a run's log; lines that are none are left out."""
    path = out / LOG
    entries = [_entry(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
    return [entry for entry in entries if entry is not None]


def _restored(path: Path, state: dict, config: TrainConfig, data: str) -> tuple[int, float]:
    damaged = f"{path} is damaged or no checkpoint of ours: delete it or choose another folder."
    try:
        with zipfile.ZipFile(path) as file:
            if file.testzip() is not None:  # torch itself does not look at the checksums
                raise InputError(damaged)
        blob = torch.load(path, map_location="cpu", weights_only=True)
        settings, seen, step, seconds = (blob[name] for name in ("config", "data", "step", "seconds"))
    except Exception as error:  # what is no checkpoint can raise nearly anything inside torch
        raise InputError(damaged) from error
    if settings != _fingerprint(config):
        raise InputError(f"{path} belongs to a run with other settings: choose another --out folder.")
    if seen != data:
        raise InputError(
            f"{path} belongs to a run on other data: give the same subjects and files, or choose another --out folder."
        )
    try:
        for name, part in state.items():
            _load(part, blob[name])
    except Exception as error:  # nor does a state of other parts say so in one way
        raise InputError(damaged) from error
    if not _counts(step, seconds, config) or not all(map(_fits, state.values())):
        raise InputError(damaged)
    return step, seconds


def _counts(step: Any, seconds: Any, config: TrainConfig) -> bool:
    """Whether these are a step of the run and the time it took."""
    return type(step) is int and 0 < step <= config.steps and type(seconds) in (int, float) and 0 <= seconds < 1e12


def _load(part: Any, stored: Any) -> None:
    """Restore a net, an optimiser or a scaler; the settings of an optimiser are those of the configuration."""
    if not isinstance(part, torch.optim.Optimizer):
        part.load_state_dict(stored)
        return
    own = [{k: v for k, v in group.items() if k != "params"} for group in part.param_groups]
    part.load_state_dict(stored)
    for group, settings in zip(part.param_groups, own, strict=True):
        group.update(settings)


def _fits(part: Any) -> bool:
    """Whether what was restored are numbers, and an optimiser's of the shapes of its weights."""
    if isinstance(part, torch.optim.Optimizer):
        if any(s.keys() != {"step", "exp_avg", "exp_avg_sq"} for s in part.state.values()):
            return False
        kept = [
            (x, weight.shape if name != "step" else ()) for weight, s in part.state.items() for name, x in s.items()
        ]
        return all(isinstance(x, Tensor) and x.shape == shape and bool(x.isfinite().all()) for x, shape in kept)
    return not isinstance(part, nn.Module) or all(bool(x.isfinite().all()) for x in part.state_dict().values())


def _tidy(out: Path, step: int) -> None:
    """Remove what a run killed while writing left: unfinished files, and lines of the log beyond its checkpoint."""
    for stray in (path for name in ("checkpoint.pt", LOG) for path in out.glob(f".*-{name}")):
        stray.unlink(missing_ok=True)
    path = out / LOG
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines()
    kept = [line for line in lines if (entry := _entry(line)) is not None and entry["step"] <= step]
    if kept != lines:
        with atomic(path) as part:
            part.write_bytes(b"".join(line + b"\n" for line in kept))


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line of the log holds; None for a broken one."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    numbers = [entry.get(name) for name in ("step", "loss", "seconds")] if isinstance(entry, dict) else [None]
    return entry if all(isinstance(x, int | float) and isfinite(x) for x in numbers) else None
