"""What a margin saves and changes: ``python tests/systems/bench_margin.py [SPACING [SEEDS [STEPS]]]``.

For each phantom (seeds with commas between), system and margin: CPU seconds on one thread, and root mean squares
within the brain on the [-1,1] scale, to the noise-free truth and to the image without a margin.
"""

from __future__ import annotations

import sys
import time

import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.run import translate

MARGINS = (None, 8, 4, 2, 0)
BATCH = 8


def main(spacing: str = "3", seeds: str = "1001,1002,1003", n_steps: str = "16") -> None:
    torch.set_num_threads(1)
    print(f"{'seed':>5} {'system':<16}{'margin':>7}{'CPU s':>8}{'to truth':>10}{'to whole':>10}")
    for seed in map(int, seeds.split(",")):
        case = phantom_case(seed, spacing=float(spacing))
        translate(case, batch_size=BATCH)  # loads what is loaded once
        for system, settings in (("yoda-regression", {}), ("yoda-diffusion", {"n_steps": int(n_steps)})):
            whole = None
            for margin in MARGINS:
                begun = time.process_time()
                image = translate(case, system, batch_size=BATCH, margin=margin, **settings).target
                seconds = time.process_time() - begun
                whole = image if whole is None else whole
                off = [
                    float((image - other)[case.mask].double().square().mean().sqrt()) for other in (case.clean, whole)
                ]
                print(f"{seed:>5} {system:<16}{margin!s:>7}{seconds:>8.1f}{off[0]:>10.4f}{off[1]:>10.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
