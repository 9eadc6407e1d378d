"""Train the ablation models again: ``python docs/train_ablations.py [--only NAME ...]``.

About eight minutes a model on one core of an AMD EPYC; a stopped run goes on where it was.
"""

import argparse
from pathlib import Path

import torch

from yoda_nb.ablations import ABLATIONS, train_ablations

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=[], help="these rows of the table")
parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1))
parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="folder of the runs")
parser.add_argument("--threads", type=int, default=1, help="CPU threads")
options = parser.parse_args()

torch.set_num_threads(options.threads)
train_ablations(options.only, out=options.out, seeds=options.seeds)
