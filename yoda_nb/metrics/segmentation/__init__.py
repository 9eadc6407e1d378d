"""Lesion segmentation, the downstream task of YODA, IV-A: our own segmenter, or any command.

Masks are (1,D,H,W) bool. The segmenter has seen acquired phantom FLAIR images and nothing else.
"""

from yoda_nb.metrics.segmentation.command import TOOLS, Tool, segment_with_command
from yoda_nb.metrics.segmentation.inference import lesion_probability, segment
from yoda_nb.metrics.segmentation.net import Segmenter, load_segmenter, save_segmenter
from yoda_nb.metrics.segmentation.study import agreement, fraction_pairs, lesion_summary, lesion_table, logit_fraction

__all__ = [
    "TOOLS",
    "Segmenter",
    "Tool",
    "agreement",
    "fraction_pairs",
    "lesion_probability",
    "lesion_summary",
    "lesion_table",
    "load_segmenter",
    "logit_fraction",
    "save_segmenter",
    "segment",
    "segment_with_command",
]
