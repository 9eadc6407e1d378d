"""Image files, grids, masks, and the ``Volume`` that everything else works on."""

from yoda_nb.errors import InputError
from yoda_nb.images.nifti import Grid, read_image, sha256, write_image
from yoda_nb.images.space import crop, resample_like, roi_box, uncrop
from yoda_nb.images.volumes import Volume, conform, crop_volume, intensity_window, normalise, save_image

__all__ = [
    "Grid",
    "InputError",
    "Volume",
    "conform",
    "crop",
    "crop_volume",
    "intensity_window",
    "normalise",
    "read_image",
    "resample_like",
    "roi_box",
    "save_image",
    "sha256",
    "uncrop",
    "write_image",
]
