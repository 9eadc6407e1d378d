"""Scores of images, noise, lesions and perceptual distances; each states its data range."""

from yoda_nb.metrics.downstream import alvr, dice, hd95, icc31, lesion_cnr
from yoda_nb.metrics.images import evaluate, noise_bound, pearson, psnr, score, ssim

__all__ = ["alvr", "dice", "evaluate", "hd95", "icc31", "lesion_cnr", "noise_bound", "pearson", "psnr", "score", "ssim"]
