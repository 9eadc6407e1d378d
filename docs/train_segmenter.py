"""Train the lesion segmenter again: ``python docs/train_segmenter.py``.

About ten minutes on half a core of an AMD EPYC, and three for the phantoms; acquired images only.
"""

import argparse
import json
from pathlib import Path

import torch

from yoda_nb.models import WEIGHTS
from yoda_nb.segmentation.training import SegmenterConfig, train_segmenter

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", type=Path, default=WEIGHTS / "segmenter.safetensors", help="the weights to write")
parser.add_argument("--seed", type=int, default=SegmenterConfig.seed)
parser.add_argument("--steps", type=int, default=SegmenterConfig.steps)
parser.add_argument("--threads", type=int, default=1, help="CPU threads")
options = parser.parse_args()

torch.set_num_threads(options.threads)
config = SegmenterConfig(seed=options.seed, steps=options.steps)
command = f"python docs/train_segmenter.py --seed {config.seed} --steps {config.steps}"
print(json.dumps(train_segmenter(options.out, config, command=command), indent=2))
