"""A brain mask that is right to some millimetres, brought to the edge that the image shows.

What is about as bright as the brain's inside and hangs together after its thin links (dura, vessels,
nerves) are cut is tissue; closing it takes the sulci and ventricles in.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from yoda_nb.images.masks import grown, shrunk, solid_part
from yoda_nb.images.space import isotropic_grid
from yoda_nb.preparation.bias import correct_bias
from yoda_nb.preparation.register import moved

VOXEL = 1.5  # mm: slices of 3 to 4 mm, and their planes
REACH = 4.0  # mm beyond the mask where brain can be
DEEP = 12.0  # mm inside the mask there is nothing else
TISSUE = (0.6, 1.6)  # times the median inside: darker are fluid and bone, brighter is fat (in T1w)
LINK = 3.5  # mm: half the thickness of what is cut
FURROW = 6.0  # mm: half the width of what is closed
TRUSTED = 0.85  # Dice of the refined mask with the one it began with; below it the refinement has failed


def refined(image: np.ndarray, affine: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The brain near ``mask``: bool (D, H, W).

    ``image`` (D, H, W) of a head, best T1w, in any units; ``affine`` (4, 4) to mm; ``mask`` bool, not
    empty.  Where the image shows no such edge (see TRUSTED) ``mask`` is returned as it is.
    """
    if image.min() < 0 or not (mask & (image > 0)).any():  # CT: its scale has no tissue at a share of another
        return mask
    even, grid, rough = _cut(correct_bias(image, affine, mask)[0], affine, mask)
    found = _tissue(even, grid, rough)
    if not found.any() or 2 * (found & rough).sum() < TRUSTED * (found.sum() + rough.sum()):
        return mask
    return moved(found.astype(np.float32), grid, affine, _shape(mask), order=1) > 0.5


def _cut(image: np.ndarray, affine: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(image, affine, mask) on voxels of VOXEL mm around the mask, with room to grow."""
    grid, shape = isotropic_grid(affine, image.shape, VOXEL)
    rough = moved(mask.astype(np.float32), affine, grid, shape, order=1) > 0.5
    room = int((REACH + FURROW) / VOXEL) + 3
    inside = np.argwhere(rough)
    start, stop = inside.min(axis=0) - room, inside.max(axis=0) + room + 1
    grid = grid.copy()
    grid[:3, 3] += grid[:3, :3] @ start
    d, h, w = (int(n) for n in stop - start)
    pair = (moved(x.astype(np.float32), affine, grid, (d, h, w), order=1) for x in (image, mask))
    even, rough = next(pair), next(pair) > 0.5
    return even, grid, rough


def _tissue(image: np.ndarray, affine: np.ndarray, rough: np.ndarray) -> np.ndarray:
    inside = shrunk(rough, affine, DEEP)
    middle = float(np.median(image[inside if inside.any() else rough]))
    tissue = (image > TISSUE[0] * middle) & (image < TISSUE[1] * middle) & grown(rough, affine, REACH)
    kept = grown(solid_part(shrunk(tissue, affine, LINK)), affine, LINK + 1) & tissue
    return ndimage.binary_fill_holes(shrunk(grown(kept, affine, FURROW), affine, FURROW))


def _shape(mask: np.ndarray) -> tuple[int, int, int]:
    d, h, w = mask.shape
    return d, h, w
