"""The room's front: what ``yoda_nb.images`` offers under one name."""

from __future__ import annotations

from yoda_nb import images
from yoda_nb.images import nifti, space, volumes


def test_names_promised_by_the_room_are_those_of_its_modules():
    assert all(hasattr(images, name) for name in images.__all__)
    assert images.Grid is nifti.Grid and images.Volume is volumes.Volume and images.roi_box is space.roi_box
