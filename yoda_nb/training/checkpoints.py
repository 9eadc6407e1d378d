"""Checkpoints of a run: written whole or not at all, read only where they are of the same run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import atomic
from yoda_nb.training.batches import TrainConfig


def _fingerprint(config: TrainConfig) -> str:
    return json.dumps(config.document(), sort_keys=True)


def save_checkpoint(out: Path | None, state: dict, config: TrainConfig, entry: dict, data: str) -> None:
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    blob = {k: v.state_dict() for k, v in state.items()}
    blob |= {k: entry[k] for k in ("step", "seconds")} | {"config": _fingerprint(config), "data": data}
    with atomic(out / "checkpoint.pt") as part:
        torch.save(blob, part)
    with open(out / "log.jsonl", "a") as log:
        log.write(json.dumps(entry) + "\n")


def load_checkpoint(out: Path | None, state: dict, config: TrainConfig, data: str) -> tuple[int, float]:
    """Restore a run in place; the step to go on with and the seconds so far, zeros for a new run."""
    if out is None:
        return 0, 0.0
    path = out / "checkpoint.pt"
    for stray in out.glob(f".*-{path.name}"):  # left by a run killed while writing
        stray.unlink(missing_ok=True)
    if not path.exists():
        return 0, 0.0
    try:
        blob = torch.load(path, map_location="cpu", weights_only=True)
        step, seconds, settings = int(blob["step"]), blob.get("seconds", 0.0), blob["config"]
        seen = blob["data"]
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} is damaged or no checkpoint of ours: delete it or choose another folder.") from error
    if settings != _fingerprint(config):
        raise InputError(f"{path} belongs to a run with other settings: choose another --out folder.")
    if seen != data:
        raise InputError(
            f"{path} belongs to a run on other data: give the same subjects and files, or choose another --out folder."
        )
    for name, part in state.items():
        part.load_state_dict(blob[name])
    return step, seconds
