"""Pages of control: sizes and volumes as they are, doubts on them, and names that are no UTF-8."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from volumes_by_hand import blob_volume

from yoda_nb.images.volumes import UNKNOWN
from yoda_nb.preparation.prepare import Prepared
from yoda_nb.preparation.register import Registration
from yoda_nb.scans import qc
from yoda_nb.scans.files import Opened
from yoda_nb.scans.qc import write_qc
from yoda_nb.scans.subjects import write_page


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Pages without their pictures, which take seconds; one test draws them."""
    monkeypatch.setattr(qc, "figure_of", lambda figure, alt, caption: {"source": "", "alt": alt, "caption": caption})


def volume_of(size):
    """2 x 3 x 4 voxels of brain of a size in mm, oblique, in a volume of 12 x 14 x 10."""
    volume = blob_volume()
    mask = torch.zeros_like(volume.mask)
    mask[0, 4:6, 5:8, 3:7] = True
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(size)
    return replace(volume, mask=mask, affine=affine)


def prepared(volume, doubts=()):
    images = {name: (volume.source[k : k + 1] + 1) / 2 for k, name in enumerate(volume.sources)}
    found = {"T2w": Registration(np.eye(4), metric=0.5, shift=1.2, rotation=0.3, overlap=1.0)}
    return Prepared(volume, found, images, images, doubts)


@pytest.mark.parametrize(
    ("size", "words", "litres"),
    [
        ((10, 10, 50), "10 x 10 x 50", 120),
        ((1, 1, 5), "1 x 1 x 5", 0.12),
        ((30, 30, 30), "30", 648),
        ((8.5, 10, 10), "8.5 x 10 x 10", 20.4),
    ],
)
def test_sizes_and_volumes_of_voxels_that_are_no_cubes(tmp_path, size, words, litres):
    text = write_qc(prepared(volume_of(size)), tmp_path / "qc.html").read_text()
    assert f"12 x 14 x 10 voxels of {words} mm" in text and f"a brain of {litres:.0f} ml" in text


def test_doubts_stand_on_the_page_as_they_are_written(tmp_path):
    text = write_qc(prepared(blob_volume(), ("a <b> & \udcff odd",)), tmp_path / "qc.html").read_text("utf-8")
    assert "a &lt;b&gt; &amp; \\udcff odd" in text and "T2w registered to T1w" in text


@pytest.mark.parametrize(
    "raw", [b"sub-\xff", "sub-M\u00fcller".encode("latin-1"), b"sub-\x07\n", "sub-\u4e09".encode()]
)
def test_names_that_are_no_utf_8_are_escaped(tmp_path, raw):
    name = os.fsdecode(raw)
    volume = replace(blob_volume(), subject=name)
    facts = {"model": name, name: "value"}
    path = write_qc(prepared(volume), tmp_path / "qc.html", result=volume, facts=facts)
    text = path.read_text("utf-8")
    title = re.search("<title>(.*?)</title>", text, re.DOTALL).group(1)
    assert "sub-" in title and title.isprintable()
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_of_files_on_one_grid_names_its_subject_and_doubts(tmp_path, monkeypatch):
    monkeypatch.setattr(qc, "score", lambda *_, **__: {"ssim": 0.912, "psnr": 30.0})  # matched; the images are small
    volume = replace(blob_volume(), doubts=("the mask is odd.",), subject=UNKNOWN)
    opened = Opened(volume, {})
    result = blob_volume()
    made = {"model": "tiny", "system": "unet", "seed": 3, "scores": {"ssim": 0.98765, "psnr": 31.2, "data_range": 1}}
    write_page(opened, tmp_path / "sub-01_FLAIR_qc.html", result, made)
    text = (tmp_path / "sub-01_FLAIR_qc.html").read_text()
    assert (
        "the mask is odd." in text and "Quality control: sub-01_FLAIR" in text and "0.988" in text and "0.912" in text
    )
    assert "registered to" not in text and "after the best gain and offset" in text


def test_a_page_is_drawn_whole(tmp_path, monkeypatch):
    monkeypatch.undo()
    text = write_qc(prepared(blob_volume()), tmp_path / "qc.html", result=blob_volume()).read_text()
    assert text.count("data:image/png;base64,") >= 7 and "https://" not in text
