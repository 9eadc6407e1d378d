"""Train the models of the table of systems again: ``python docs/train_systems.py [--only NAME ...]``.

Two to fifteen minutes a model on one core of an AMD EPYC; a stopped run goes on where it was.
"""

import argparse
from pathlib import Path

import torch

from yoda_nb.trainings import TRAININGS, train_systems

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--only", nargs="+", choices=TRAININGS, default=[], help="these rows of the table")
parser.add_argument("--out", type=Path, default=Path("runs/systems"), help="folder of the runs")
parser.add_argument("--threads", type=int, default=1, help="CPU threads")
parser.add_argument("--device", help="cpu, cuda, cuda:1; default: the GPU if there is one")
options = parser.parse_args()

torch.set_num_threads(options.threads)
train_systems(options.only, out=options.out, device=options.device)
