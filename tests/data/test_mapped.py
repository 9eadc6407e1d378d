"""Packs left on disk give what packs in memory give, and little of them is held."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from yoda_nb.data import mapped
from yoda_nb.data.mapped import MappedPack, map_pack, open_packs
from yoda_nb.data.packs import ENDING, read_pack, write_pack
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.phantoms.phantom import phantom_case


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    volume = phantom_case(2, spacing=6.0, shape=(31, 33, 27))  # rows that begin anywhere in a byte
    assert volume.lesions.any()
    return write_pack(volume, tmp_path_factory.mktemp("packs") / f"a{ENDING}")


def padded(x: torch.Tensor, low: tuple[int, ...], shape: tuple[int, ...], value) -> torch.Tensor:
    """(C,D,H,W) in a grid of ``shape`` that begins ``low`` voxels before it."""
    grown = x.new_full((len(x), *shape), value)
    grown[:, *(slice(a, a + n) for a, n in zip(low, x.shape[1:], strict=True))] = x
    return grown


def test_any_cut_is_that_of_the_volume_in_memory(path):
    volume, pack = read_pack(path, dtype=torch.float16), map_pack(path)
    low, shape = (2, 0, 7), (36, 33, 40)
    images = padded(torch.cat([volume.target, volume.source]), low, shape, -1.0)
    masks = padded(torch.cat([volume.mask, volume.lesions]), low, shape, False)
    rng = np.random.default_rng(0)
    cuts = [(slice(None),) * 4, (slice(0, 1), slice(0, 1), slice(0, 33), slice(0, 3)), (slice(1, 3),) * 4]
    for _ in range(60):
        ends = [sorted(rng.integers(0, n + 1, 2).tolist()) for n in shape]
        cuts.append((slice(None), *(slice(a, max(b, a + 1)) for a, b in ends)))
    for cut in cuts:
        assert torch.equal(pack.images(low, shape)[cut], images[cut]), cut
        assert torch.equal(pack.masks(low, shape, lesions=True)[cut], masks[cut]), cut
        assert torch.equal(pack.masks(low, shape, lesions=False)[cut], masks[:1][cut]), cut
    assert pack.images(low, shape).shape == images.shape and images.dtype == pack.images(low, shape)[cuts[0]].dtype


def test_it_answers_as_a_volume(path):
    volume, pack = read_pack(path, dtype=torch.float16), map_pack(path)
    for name in ("shape", "spacing", "sources", "contrast", "subject"):
        assert getattr(pack, name) == getattr(volume, name)
    assert torch.equal(pack.target, volume.target) and torch.equal(pack.mask, volume.mask)
    assert torch.equal(pack.read().source, volume.source)


def test_a_pack_without_lesions_has_none_to_show(path, tmp_path):
    bare = map_pack(write_pack(replace(read_pack(path), lesions=None), tmp_path / f"b{ENDING}"))
    masks = bare.masks((0, 0, 0), bare.shape, lesions=True)[(slice(None),) * 4]
    assert len(masks) == 2 and masks[0].any() and not masks[1].any()


def test_packs_stay_on_disk_where_they_would_fill_the_memory(path, monkeypatch):
    voxels = 31 * 33 * 27
    assert mapped._bytes_in_memory(path) == pytest.approx(voxels * 7, rel=1e-3)  # three images and a mask
    for memory, kind in ((4 * 2.1 * voxels * 7, Volume), (4 * 1.9 * voxels * 7, MappedPack)):
        monkeypatch.setattr(mapped, "_memory", lambda memory=memory: memory)
        assert {type(v) for v in open_packs([path] * 4)} == {kind}
    assert {type(v) for v in open_packs([path], mapped=False)} == {Volume}
    monkeypatch.undo()
    assert mapped._memory() > 2**28


@pytest.mark.parametrize("choice", [True, False, None])
def test_what_is_no_pack_is_refused_at_once(path, tmp_path, choice):
    bad = tmp_path / f"bad{ENDING}"
    bad.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="is not a pack of a volume"):
        open_packs([path, bad], choice)


HELD = """
import sys
from pathlib import Path
from yoda_papers.bench.memory import _peak_mb
from yoda_nb.data.mapped import open_packs
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.draws import draw

files, config = sorted(Path(sys.argv[1]).iterdir())[: int(sys.argv[3])], TrainConfig(batch_size=16)
make_pool(open_packs(files[:1], sys.argv[2] == "mapped"), config)
before = _peak_mb("cpu")
pool = make_pool(open_packs(files, sys.argv[2] == "mapped"), config)
for step in range(5):
    draw(pool, config, step)
print(_peak_mb("cpu") - before)
"""


def test_little_of_many_packs_is_held(tmp_path):
    """MB by which volumes of 7 MB raise the peak of a new process beyond what one raised it by.

    Blocks that are freed go back to the system at once (a fixed threshold), else this measures glibc's gaps.
    """
    generator, shape = torch.Generator().manual_seed(0), (100, 100, 100)
    mask = torch.ones((1, *shape), dtype=torch.bool)
    mask[:, :10] = mask[:, :, :10] = False
    images = torch.where(mask, torch.rand((3, *shape), generator=generator) * 2 - 1, -1.0)
    volume = Volume(images[:2], mask, np.eye(4), ("T1w", "T2w"), target=images[2:])
    first = write_pack(volume, tmp_path / f"000{ENDING}")
    for k in range(1, 240):
        os.link(first, tmp_path / f"{k:03}{ENDING}")

    def grown(how: str, n: int) -> float:
        run = [sys.executable, "-c", HELD, str(tmp_path), how, str(n)]
        how_run = {"cwd": Path(__file__).parents[2], "env": {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}}
        return float(subprocess.run(run, capture_output=True, text=True, check=True, **how_run).stdout)

    in_memory, on_disk = grown("memory", 24), grown("mapped", 240)
    assert in_memory > 0.9 * 23 * 7, "else this measures nothing"
    assert on_disk < 0.05 * 239 * 7, "of 239 volumes less than one in twenty would take"
