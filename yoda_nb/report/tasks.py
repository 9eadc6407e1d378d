"""What to execute: each chosen notebook once, or once for each subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoda_nb.data.manifest import read_manifest
from yoda_nb.data.places import MANIFEST
from yoda_nb.errors import InputError

OWN_PAGES = {"index", "claims", "glossary", "made", "reproduces"}  # of the report itself


@dataclass(frozen=True)
class Task:
    """One notebook with one set of values."""

    name: str  # of its page and of the executed notebook, without suffix
    source: Path
    parameters: Mapping[str, Any]
    subject: str = ""  # "" where the notebook is executed once


def plan(
    values: Mapping[Path, Mapping[str, Any]], subjects: Sequence[str] = (), *, manifest: Path = MANIFEST
) -> list[Task]:
    """The tasks in the notebooks' order; one that declares ``subject`` gives a task a subject.

    Raises InputError where no notebook declares ``subject``, its value is given twice over, or a
    subject is not among the test subjects of the dataset that a notebook uses.
    """
    if subjects and not any("subject" in given for given in values.values()):
        raise InputError(
            f"no chosen notebook ({', '.join(path.name for path in values)}) has a parameter "
            "'subject'; leave --subjects out or choose others."
        )
    tasks = []
    for source, given in values.items():
        if not subjects or "subject" not in given:
            tasks.append(Task(source.stem, source, given))
            continue
        _check(subjects, given, source.name, manifest)
        tasks += [
            Task(f"{source.stem}--{subject}", source, {**given, "subject": subject}, subject)
            for subject in dict.fromkeys(subjects)
        ]
    if len({task.name for task in tasks} | OWN_PAGES) < len(tasks) + len(OWN_PAGES):
        taken = ", ".join(sorted(OWN_PAGES))
        raise InputError(
            f"two notebooks have the same name, or one is called as the report's own pages ({taken}); rename one."
        )
    return tasks


def _check(subjects: Sequence[str], given: Mapping[str, Any], notebook: str, manifest: Path) -> None:
    """Refuse what the notebook would only find out after its kernel has started."""
    for name in ("subject", "own_files"):
        if given.get(name):
            raise InputError(f"{notebook}: {name} is set to {given[name]!r} and --subjects is given; keep one.")
    dataset = given.get("dataset", "phantom")
    known = [case.subject for case in read_manifest(manifest, dataset=dataset, split="test")]
    for subject in subjects:
        if subject not in known:
            raise InputError(
                f"subject {subject!r} is not a test subject of dataset {dataset!r} in "
                f"{manifest.name}; there are {', '.join(known)}."
            )
