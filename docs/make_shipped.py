"""Make the shipped samples and tables of evidence again: ``python docs/make_shipped.py``.

About an hour and a half on two cores of an AMD EPYC without a bank; samples that the bank holds
are not drawn again. ``--tables NAME ...`` makes some tables only, ``--samples`` the samples only.
"""

import argparse
import os
import shutil
import time
from dataclasses import replace

import torch

from yoda_nb import study
from yoda_nb.evidence import MAKERS, SHIPPED_STUDY, Study, benchmark, ship
from yoda_nb.models import describe_machine, find_model, load_model
from yoda_nb.shipped import SAMPLES
from yoda_nb.shipped import ship as ship_samples
from yoda_nb.systems import get_system

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tables", nargs="+", choices=MAKERS, help="these tables only")
parser.add_argument("--samples", action="store_true", help="the samples only")
parser.add_argument("--benchmark-samples", action="store_true", help="those of the table of systems only")
parser.add_argument("--threads", type=int, help="CPU threads; default: all cores")
options = parser.parse_args()
os.environ["YODA_NB_SHIPPED"] = "0"  # what is shipped must not answer for itself
if options.threads:
    torch.set_num_threads(options.threads)

profile, seed = SHIPPED_STUDY
settings = study.get_profile(profile)


def make_samples() -> None:
    """What the notebooks show of the quick profile's subjects, and the first one's sweep."""
    shutil.rmtree(SAMPLES, ignore_errors=True)
    size = 0
    for k, v in enumerate(study.load_subjects(settings.subjects)):
        todo = [("yoda-regression", {})]
        todo += [("yoda-diffusion", {"n_ex": max(settings.n_ex), "n_steps": settings.n_steps})]
        todo += [("yoda-ddim", {"n_steps": n}) for n in settings.ddim]
        if k == 0:
            todo += [("yoda-ddim", {"n_steps": n, "sigma": kind}) for n in settings.sweep
                     for kind in ("zero", "posterior", "fresh")]  # fmt: skip
        weights = load_model(find_model(v.sources, None, min(v.spacing))).sha256
        for system, settings_ in todo:
            drawn = study.samples(v, system, seed=seed, progress=True, **settings_)
            path = ship_samples(v, get_system(system, **settings_), seed, weights, drawn)
            size += path.stat().st_size
            print(f"{path.name}: {system} {settings_}, {size / 1e6:.1f} MB so far", flush=True)
    make_benchmark_samples()


def make_benchmark_samples() -> None:
    """The slower systems' images of the first subject that the explorer of notebook 24 shows."""
    of = Study(profile, seed)
    for v in study.load_subjects(1):
        for entry in filter(lambda entry: entry.trained, benchmark.entries(of)):
            spec = get_system(entry.system, **entry.settings)
            if spec.evaluations < benchmark.SLOW:
                continue
            drawn = of.samples(v, entry.system, model=entry.weights, progress=True, **entry.settings)
            path = ship_samples(v, spec, seed, load_model(entry.weights).sha256, drawn)
            print(f"{path.name}: {entry.label}, {path.stat().st_size / 1e6:.1f} MB", flush=True)


def make_table(name: str) -> None:
    begun = time.time()
    table = replace(Study(profile, seed), fresh=True).table(name)
    about = {"profile": profile, "seed": seed, "seconds": round(time.time() - begun), "machine": describe_machine(),
             "torch": torch.__version__, "rows": len(table)}  # fmt: skip
    ship(name, table, about)
    print(f"{name}: {len(table)} rows in {about['seconds']} s", flush=True)


if options.benchmark_samples:
    make_benchmark_samples()
    raise SystemExit
if not options.tables:
    make_samples()
if not options.samples:
    for name in options.tables or MAKERS:
        make_table(name)
