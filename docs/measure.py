"""The README's numbers: ``python docs/measure.py [--mirror DIR] [--subjects N]``. Minutes on two cores.

Regression against the noise-free truth on every test subject; for the first N of each dataset
also the noise of a diffusion sample and ExpA-10 against regression, with the system's defaults.
"""

import argparse

import pandas as pd

from yoda_nb.diffusion import expected
from yoda_nb.metrics import score
from yoda_nb.noise import white_matter_noise
from yoda_nb.study import load_subjects, samples
from yoda_nb.tables import convergence_table, white_matter

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--mirror", help="folder with the label maps, for machines without internet")
parser.add_argument("--subjects", type=int, default=2, help="subjects of each dataset to sample")
parser.add_argument("--offline", action="store_true", help="MNI152 phantoms only")
options = parser.parse_args()

directions = ((("T1w", "T2w"), "FLAIR"), (("FLAIR", "T1w"), "T2w"))
rows, sampled = [], []
for dataset in ("phantom",) if options.offline else ("phantom", "phantom-labels"):
    for sources, target in directions:
        volumes = load_subjects(99, dataset=dataset, mirror=options.mirror, sources=sources, target=target)
        for k, v in enumerate(volumes):
            truth = (v.clean + 1) / 2
            smooth = samples(v, "yoda-regression")[0]
            found = score((smooth + 1) / 2, truth, v.mask, data_range=1)
            rows.append({"dataset": dataset, "target": target, **found})
            if k >= options.subjects or target != "FLAIR":
                continue
            drawn = samples(v, "yoda-diffusion", n_ex=10, progress=True)
            inside = white_matter(v)
            noise = {name: white_matter_noise((x + 1) / 2, inside)
                     for name, x in (("acquired", v.target), ("diffusion", drawn[0]), ("regression", smooth))}
            images = {"regression": [smooth], "ExpA 10": [expected(drawn)]}
            way = convergence_table([v], images).iloc[0]
            sampled.append({"dataset": dataset, "subject": v.subject, **noise,
                            "ratio": noise["diffusion"] / noise["acquired"],
                            "expa10_ssim": way.ssim, "bound": way.ssim_bound})  # fmt: skip

table = pd.DataFrame(rows).groupby(["dataset", "target"])[["ssim", "psnr"]].agg(["mean", "std", "count"])
print("Regression against the noise-free truth (data range 1)\n", table.round(4).to_string())
print("\nWhite-matter noise, and ExpA-10 against regression\n", pd.DataFrame(sampled).round(4).to_string())
