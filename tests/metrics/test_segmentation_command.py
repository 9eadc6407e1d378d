"""Lesions by any program behind a command line."""

from __future__ import annotations

import sys
import time

import pytest
import torch
from volumes_by_hand import blob_volume

from yoda_nb.errors import InputError
from yoda_nb.metrics.segmentation import Tool, segment_with_command

STAND_IN = """
import sys, time, numpy as np, nibabel as nib
source, output, how = sys.argv[1:4]
if how == "fail":
    print("loading", file=sys.stderr); print("no licence found", file=sys.stderr); sys.exit(1)
if how == "silent": sys.exit(3)
if how == "slow": time.sleep(60)
if how == "nothing": sys.exit(0)
image = nib.load(source)
data = image.get_fdata()
if how == "text": open(output, "w").write("done")
else:
    affine, found = image.affine.copy(), np.where(data > 0.7, 77, np.where(data > 0.2, 2, 0))
    if how == "mask": found = (data > 0.7) * 1
    if how == "nan": found = found * np.nan
    if how == "shifted": affine[0, 3] += 2
    if how == "cropped": found = found[1:]
    if how == "fine":
        found, affine = np.kron(found, np.ones((2, 2, 2))), affine @ np.diag([.5, .5, .5, 1])
        affine[:3, 3] -= 0.25 * np.diag(image.affine)[:3]
    if how == "flipped":
        found = found[::-1]; affine[0, 3] += affine[0, 0] * (len(found) - 1); affine[0, 0] *= -1
    nib.save(nib.Nifti1Image(found.astype(np.float32), affine), output)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The command line of a program that thresholds; folders with spaces on the way."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (folder / "tool.py").write_text(STAND_IN)
    yield lambda how: f"{sys.executable} '{folder / 'tool.py'}' {{input}} {{output}} {how}"
    assert [p.name for p in folder.iterdir()] == ["tool.py"], "temporary files are gone"


@pytest.mark.parametrize("how", ["labels", "flipped"])
def test_a_command_returns_its_labels_on_the_images_grid(stand_in, how):
    v = blob_volume()
    found = segment_with_command(v.target, v, stand_in(how), labels=(77,))
    assert found.dtype == torch.bool and torch.equal(found, v.lesions)
    assert torch.equal(segment_with_command(v.target, v.affine, stand_in(how), labels=(2, 77)), v.mask)


def test_a_command_may_write_a_mask_read_a_source_or_use_another_grid(stand_in):
    v = blob_volume()
    assert torch.equal(segment_with_command(v.target, v, stand_in("mask")), v.lesions)
    swapped = stand_in("mask").replace("{input}", "{T1w}") + " {input}"
    assert torch.equal(segment_with_command(torch.zeros_like(v.target), v, swapped), v.lesions)
    tool = Tool(stand_in("fine"), labels=(77,), resample=True)
    assert torch.equal(segment_with_command(v.target, v, tool), v.lesions)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("fail", r"exit status 1 \(its last line: no licence found\)"),
        ("silent", "exit status 3 .it wrote nothing"),
        ("nothing", "wrote no file"),
        ("text", "output of .* cannot be used: .*not a readable"),
        ("nan", "cannot be used: .*NaN"),
        ("shifted", "not on one grid .corners 2 mm apart"),
        ("cropped", "not on one grid .shapes"),
        ("fine", "not on one grid"),
    ],
)
def test_a_command_that_goes_wrong_is_explained(stand_in, how, says):
    v = blob_volume()
    with pytest.raises(InputError, match=says) as caught:
        segment_with_command(v.target, v, stand_in(how))
    assert "\n" not in str(caught.value)


def test_a_slow_command_is_stopped_with_what_it_started(stand_in):
    v, start = blob_volume(), time.perf_counter()
    # the sleeper is a child of the command, and must not outlive it
    shell = f"sh -c 'sleep 60; true' {stand_in('slow')}"
    with pytest.raises(InputError, match="stopped after 0.5 s"):
        segment_with_command(v.target, v, shell, timeout=0.5)
    assert time.perf_counter() - start < 20


def test_a_command_that_cannot_run_is_refused():
    v = blob_volume()
    with pytest.raises(InputError, match="no-such-tool cannot be run .*install it"):
        segment_with_command(v.target, v, "no-such-tool --in {input} --out {output}")
    with pytest.raises(InputError, match=r"no \{output\}"):
        segment_with_command(v.target, v, "tool {input}")
    with pytest.raises(InputError, match="affine"):
        segment_with_command(v.target[0], v, "tool {input} {output}")
