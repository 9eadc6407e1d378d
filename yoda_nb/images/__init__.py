"""Image files, grids, masks, and the ``Volume`` that everything else works on."""

from yoda_nb.errors import InputError
from yoda_nb.images.brain import brain_mask
from yoda_nb.images.nifti import Grid, read_image, sha256, write_image
from yoda_nb.images.space import crop, resample_like, roi_box, uncrop
from yoda_nb.images.volumes import Volume, conform, crop_volume, intensity_window, load_volume, normalise, save_image

__all__ = [
    "Grid",
    "InputError",
    "Volume",
    "brain_mask",
    "conform",
    "crop",
    "crop_volume",
    "intensity_window",
    "load_volume",
    "normalise",
    "read_image",
    "resample_like",
    "roi_box",
    "save_image",
    "sha256",
    "uncrop",
    "write_image",
]
