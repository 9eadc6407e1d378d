"""Packs: what training needs of a volume, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from yoda_nb.data.packs import ENDING, read_pack, write_pack
from yoda_nb.errors import InputError
from yoda_nb.phantoms.phantom import phantom_case


@pytest.fixture(scope="module")
def volume():
    return phantom_case(2, spacing=6.0, shape=(30, 34, 28))


def test_a_pack_gives_the_volume_back(volume, tmp_path):
    path = write_pack(volume, tmp_path / f"a{ENDING}")
    back = read_pack(path)
    assert torch.equal(back.mask, volume.mask) and np.array_equal(back.affine, volume.affine)
    assert (back.subject, back.sources, back.contrast) == (volume.subject, volume.sources, volume.contrast)
    assert (back.source - volume.source).abs().max() < 5e-4 and (back.target - volume.target).abs().max() < 5e-4
    assert (back.source[:, ~back.mask[0]] == -1).all()
    assert volume.lesions.any() and torch.equal(back.lesions, volume.lesions & volume.mask)
    inside = int(volume.mask.sum())
    assert path.stat().st_size < 3 * 2 * inside + volume.mask.numel() / 8 + 2000, "only the brain is kept"


def test_a_pack_without_lesions_knows_of_none(volume, tmp_path):
    assert read_pack(write_pack(replace(volume, lesions=None), tmp_path / f"a{ENDING}")).lesions is None


def test_a_volume_without_target_is_no_pack(volume, tmp_path):
    with pytest.raises(InputError, match="has no target"):
        write_pack(replace(volume, target=None), tmp_path / f"a{ENDING}")
    assert not list(tmp_path.iterdir()), "nothing half-written stays"


@pytest.mark.parametrize("harm", ["short", "other", "missing"])
def test_what_is_no_pack_is_refused(volume, tmp_path, harm):
    path = tmp_path / f"a{ENDING}"
    if harm != "missing":
        write_pack(volume, path)
        path.write_bytes(path.read_bytes()[:-500] if harm == "short" else b"\0" * 100)
    with pytest.raises(InputError, match="is not a pack of a volume"):
        read_pack(path)
