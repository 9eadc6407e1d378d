"""Whom the notebooks look at: profiles, and subjects of the manifest or from files of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from yoda_nb.data.manifest import load_case, read_manifest
from yoda_nb.data.places import MANIFEST
from yoda_nb.errors import InputError, printable
from yoda_nb.images.nifti import sha256
from yoda_nb.images.units import part_of
from yoda_nb.images.volumes import UNKNOWN, Volume
from yoda_nb.preparation.load import load_volume

FIRST_SEED = 1001  # of the manifest's test phantoms


@dataclass(frozen=True)
class Profile:
    """How much a notebook computes."""

    subjects: int
    n_steps: int  # of one diffusion trajectory, the first step included
    n_ex: tuple[int, ...]  # ExpA averages to look at; the largest is sampled, the others reuse it
    ddim: tuple[int, ...]
    noised: tuple[float, ...]  # Rician noise on regression, as a share of the acquisition's
    sweep: tuple[int, ...]  # steps of the DDIM sweep, few to many
    evidence: int  # subjects behind a verdict of the claims ledger


PROFILES = {
    # the tests: everything runs, nothing is worth looking at
    "tiny": Profile(subjects=2, n_steps=3, n_ex=(2,), ddim=(2,), noised=(1.0,), sweep=(1, 2), evidence=2),
    # two CPU cores, minutes
    "quick": Profile(
        subjects=3,
        n_steps=20,
        n_ex=(2, 4, 10),
        ddim=(4, 8, 16),
        noised=(0.5, 1.0),
        sweep=(1, 2, 4, 8, 16, 32, 64),
        evidence=6,
    ),
    # YODA: T = 1000 truncated at 250, which are 252 evaluations; Fig. 2's DDIM steps
    "full": Profile(
        subjects=12,
        n_steps=252,
        n_ex=(4, 10),
        ddim=(8, 16, 32, 64),
        noised=(0.25, 0.5, 0.75, 1.0),
        evidence=12,
        sweep=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000),
    ),
}


def get_profile(name: str) -> Profile:
    if name not in PROFILES:
        raise InputError(f"Profile {name!r} is unknown: choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def load_subjects(
    n: int,
    *,
    dataset: str = "phantom",
    split: str = "test",
    subject: str = "",
    own_files: str = "",
    sources: tuple[str, ...] = ("T1w", "T2w"),
    target: str = "FLAIR",
    manifest: Path = MANIFEST,
    mirror: str | None = None,
) -> list[Volume]:
    """The first ``n`` subjects of a dataset, or the one named, or your own files.

    ``own_files`` reads "T1w=a.nii.gz,T2w=b.nii.gz[,FLAIR=c.nii.gz][,mask=m.nii.gz]". Raises
    InputError where a subject or a contrast is not there.
    """
    if own_files:
        return [_own(own_files, sources, target)]
    cases = read_manifest(manifest, dataset=dataset, split=split)
    if subject:
        cases = [c for c in cases if c.subject == subject]
        if not cases:
            raise InputError(f"Subject {subject!r} is not in {dataset} {split} of {manifest}.")
    load = partial(load_case, sources=sources, target=target, mirror=mirror)
    return [load(case) for case in cases[:n]]


def _own(own_files: str, sources: tuple[str, ...], target: str) -> Volume:
    pairs = [item.split("=", 1) for item in own_files.split(",") if item.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError('own_files must read "T1w=a.nii.gz,T2w=b.nii.gz", contrast = file, comma between.')
    files = {name.strip(): Path(path.strip()).expanduser() for name, path in pairs}
    if lacking := [name for name in sources if name not in files]:
        raise InputError(f"own_files has no {', '.join(lacking)}: add {lacking[0]}=FILE.")
    acquired = (target, files[target]) if target in files else None
    first = files[sources[0]]
    # of its content too: patients whose files have one name have noise of their own
    subject = f"{printable(first.name.split('.')[0])}-{sha256(first)[:6]}" if first.is_file() else UNKNOWN
    images, part = {name: files[name] for name in sources}, part_of((*sources, target))
    return load_volume(images, target=acquired, mask=files.get("mask"), subject=subject, part=part)
