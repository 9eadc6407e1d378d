"""What a training of one's own learns from: phantoms of any scanner, packs of people, both."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch

from yoda_nb.data.mapped import MappedPack, open_packs
from yoda_nb.data.packs import ENDING, pack, write_pack
from yoda_nb.data.rows import COLUMNS
from yoda_nb.errors import InputError
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.store import VERSIONS
from yoda_nb.systems import training_data
from yoda_nb.systems.training_data import TrainingData, dataset_volumes, mixed, packed_volumes, scanner_volumes
from yoda_nb.training.batches import TrainConfig, data_hash, make_pool
from yoda_nb.training.draws import draw_batch
from yoda_nb.training.loop import fit
from yoda_nb.training.recipes import TRAIN_SEEDS, kept_phantoms

SOURCES = ("T1w", "T2w")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two people, one of them with two visits, each with one rescan."""
    path = tmp_path_factory.mktemp("packs")
    for k, name in enumerate(("a", "b_ses-1", "b_ses-2")):
        pack(replace(phantom_case(k, spacing=6.0, shape=(30, 34, 28)), subject=name), path, rescans=1)
    return path


def test_a_rescan_changes_the_sources_and_nothing_else(folder):
    data = packed_volumes(folder, SOURCES, "FLAIR")
    first, again = (v for v in data.volumes if v.subject.startswith("a"))
    assert (first.subject, again.subject) == ("a", "a~1")
    assert torch.equal(first.target, again.target) and torch.equal(first.mask, again.mask)
    assert not torch.equal(first.source, again.source) and first.shape == again.shape


def test_a_person_is_left_out_with_all_visits_and_rescans(folder):
    data = packed_volumes(folder, SOURCES, "FLAIR", without=["b"])
    assert [v.subject for v in data.volumes] == ["a", "a~1"]
    assert [v.subject for v in data.validation] == ["b_ses-1", "b_ses-2"], "validated as scanned"
    assert data.described.startswith("2 volumes of 1 people (a); validated on 2 of 1 people")
    assert "no pack names a split" in data.described


@pytest.fixture
def split(tmp_path):
    """A manifest's people packed with their splits: one to train, one to validate, two to test."""
    for k, (name, of) in enumerate({"a_ses-1": "train", "b": "val", "c": "test", "d_ses-1": "test"}.items()):
        v = replace(phantom_case(k, spacing=6.0, shape=(30, 34, 28)), subject=name)
        pack(v, tmp_path, rescans=of != "test", split=of)
    return tmp_path


@pytest.mark.parametrize("mapped", [False, True])
def test_packs_are_trained_on_as_their_splits_say_and_those_for_testing_stay_closed(split, mapped, monkeypatch):
    opened = []
    monkeypatch.setattr(
        training_data, "open_packs", lambda files, *how: opened.extend(files) or open_packs(files, *how)
    )
    data = packed_volumes(split, SOURCES, "FLAIR", mapped=mapped)
    assert [v.subject for v in data.volumes] == ["a_ses-1", "a_ses-1~1"]
    assert [v.subject for v in data.validation] == ["b"], "no rescan validates"
    assert [f.name for f in opened] == [f"{name}{ENDING}" for name in ("a_ses-1", "a_ses-1~1", "b")]
    assert data.described == (
        "2 volumes of 1 people (a); validated on 1 of 1 people; not opened: packs of 2 people for testing"
    )
    assert data.people == {"train": ["a"], "val": ["b"], "test_not_opened": 2}
    with pytest.raises(InputError, match=r"2 people \(a, b\) are for validation and 2 people \(c, d\) for testing"):
        packed_volumes(split, SOURCES, "FLAIR", without=["a"])
    for name in ("c", "d_ses-1"):
        (split / f"{name}{ENDING}").rename(split / f"{name}.bak")
    (split / f"c{ENDING}").write_bytes(b"")
    with pytest.raises(InputError, match="is not a pack"):
        packed_volumes(split, SOURCES, "FLAIR")


def test_people_without_a_split_train_and_a_person_has_one_split(split):
    pack(replace(phantom_case(7, spacing=6.0, shape=(30, 34, 28)), subject="e"), split, split="n/a")
    pack(replace(phantom_case(8, spacing=6.0, shape=(30, 34, 28)), subject="b_ses-2"), split)
    data = packed_volumes(split, SOURCES, "FLAIR")
    assert [v.subject for v in data.volumes] == ["a_ses-1", "a_ses-1~1", "e"]
    assert [v.subject for v in data.validation] == ["b", "b_ses-2"], "a visit without a split goes with its person"
    assert "although their packs name no split: 1 people (e)" in data.described
    assert [v.subject for v in packed_volumes(split, SOURCES, "FLAIR", without=["e", "c"]).validation] == [
        "b",
        "b_ses-2",
        "e",
    ]
    pack(replace(phantom_case(9, spacing=6.0, shape=(30, 34, 28)), subject="c_ses-2"), split, split="train")
    with pytest.raises(InputError, match="packs of c of the splits test and train: pack this person again"):
        packed_volumes(split, SOURCES, "FLAIR")


def test_a_dataset_is_read_as_its_splits_say(tmp_path, monkeypatch):
    names = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "n/a"}
    rows = [f"mine,{name},{of},any,phantom:{k},n/a,n/a,n/a,n/a" for k, (name, of) in enumerate(names.items())]
    (tmp_path / "m.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    monkeypatch.setattr(training_data, "load_case", lambda case, **_: case.subject)
    data = dataset_volumes("mine", SOURCES, "FLAIR", spacing=3.0, manifest=tmp_path / "m.csv")
    assert (data.volumes, data.validation) == (["a", "b"], ["c"])
    assert data.people == {"train": ["a", "b"], "val": ["c"], "test_not_opened": 1}
    assert data.described == (
        "dataset mine of m.csv, 2 subjects; validated on 1; not opened: 1 for testing; "
        "left out, for they have no split: 1"
    )
    (tmp_path / "m.csv").write_text("\n".join([",".join(COLUMNS), *rows[3:]]) + "\n")
    with pytest.raises(InputError, match="no subject of mine in the split train"):
        dataset_volumes("mine", SOURCES, "FLAIR", spacing=3.0, manifest=tmp_path / "m.csv")


def test_an_angiogram_is_one_contrast_by_either_name(tmp_path):
    write_pack(
        replace(phantom_case(0, spacing=6.0, shape=(30, 34, 28)), sources=("MRA", "T2w")), tmp_path / f"x{ENDING}"
    )
    assert packed_volumes(tmp_path, ("TOF", "T2w"), "FLAIR").volumes[0].sources == ("MRA", "T2w")


def test_what_cannot_be_trained_on_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no packs of c: choose among a, b"):
        packed_volumes(folder, SOURCES, "FLAIR", without=["c"])
    with pytest.raises(InputError, match="Leave at least one person"):
        packed_volumes(folder, SOURCES, "FLAIR", without=["a", "b"])
    with pytest.raises(InputError, match="no packs"):
        packed_volumes(tmp_path, SOURCES, "FLAIR")
    write_pack(phantom_case(0, spacing=6.0, shape=(30, 34, 28), target="PDw"), tmp_path / f"x{ENDING}")
    with pytest.raises(InputError, match="but this training needs T1w\\+T2w and FLAIR"):
        packed_volumes(tmp_path, SOURCES, "FLAIR")


def test_the_share_of_real_slabs_is_what_is_asked_for(folder):
    real = packed_volumes(folder, SOURCES, "FLAIR")
    phantoms = TrainingData([phantom_case(9, spacing=6.0, shape=(30, 34, 28))] * 2, [], "phantoms")
    both = mixed(real, phantoms, 0.3)
    assert len(both.volumes) == len(both.weights) == len(real.volumes) + 2
    assert sum(both.weights[: len(real.volumes)]) == pytest.approx(0.3) and sum(both.weights) == pytest.approx(1)
    with pytest.raises(InputError, match="share 1.5"):
        mixed(real, phantoms, 1.5)


def test_phantoms_of_any_scanner_are_made_once_and_kept(tmp_path):
    settings = {"sources": SOURCES, "target": "FLAIR", "spacing": 6.0, "keep": tmp_path / "kept", "label_maps": False}
    first = scanner_volumes(2, **settings)
    (one, _) = files = sorted((tmp_path / "kept").iterdir())
    assert [f.name for f in files] == [f"{TRAIN_SEEDS + i}-MNI152-T1w-T2w-FLAIR-6mm{ENDING}" for i in range(2)]
    before = one.stat().st_mtime_ns
    again = scanner_volumes(2, **settings)
    assert one.stat().st_mtime_ns == before
    assert torch.equal(first.volumes[0].source, again.volumes[0].source) and not first.validation


def test_a_phantom_is_made_again_where_what_it_is_made_of_has_changed(tmp_path, monkeypatch):
    make = partial(kept_phantoms, keep=tmp_path / "kept", spacing=6.0)
    codes = np.zeros((32, 36, 32), np.int32)
    codes[8:24, 8:28, 8:24], codes[12:20, 12:24, 12:20] = 3, 2  # grey around white
    file, images = tmp_path / "map.nii.gz", []
    for wide in (12, 12, 10):
        codes[12:20, wide:24, 12:20] = 2
        nib.save(nib.Nifti1Image(codes, np.diag([6.0, 6, 6, 1])), file)
        images.append(make([(1, file)])[0].target)
    assert torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2]), "the map's content counts"
    (kept,) = (tmp_path / "kept").iterdir()
    before = kept.stat().st_mtime_ns
    make([(1, file)])
    assert kept.stat().st_mtime_ns == before
    monkeypatch.setitem(VERSIONS, "phantoms", 0)
    make([(1, file)])
    assert kept.stat().st_mtime_ns > before
    kept.write_bytes(b"")
    assert torch.equal(make([(1, file)])[0].target, images[2]), "one that is damaged is made again too"


def test_packs_left_on_disk_train_to_the_same_bytes(folder, tmp_path):
    """Also where the window is larger than the volumes, and the run of one goes on with the other."""
    net = UNetConfig((8, 8), (False, False), groups=4, thickness=5)
    config = TrainConfig(net=net, steps=4, batch_size=3, window=36, warmup=2, lesions=2.0, margin_mm=(4, 2, 2))
    held, left = (packed_volumes(folder, SOURCES, "FLAIR", mapped=mapped) for mapped in (False, True))
    assert all(isinstance(v, MappedPack) for v in left.volumes) and left.described == held.described
    assert not any(isinstance(v, MappedPack) for v in held.volumes)
    pools = [make_pool(data.volumes, config, [3.0, 1, 1, 1, 1, 1]) for data in (held, left)]
    assert data_hash(pools[0]) == data_hash(pools[1])
    for step in range(20):
        a, b = (draw_batch(pool, config, step) for pool in pools)
        assert all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))
    whole = fit(held.volumes, config, out=tmp_path / "held")
    fit(held.volumes, config, out=tmp_path / "both", stop_after=2)
    both = fit(left.volumes, config, out=tmp_path / "both")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), both.parameters(), strict=True))


def test_phantoms_of_any_scanner_may_stay_on_disk(tmp_path):
    settings = {"sources": SOURCES, "target": "FLAIR", "spacing": 6.0, "keep": tmp_path / "kept", "label_maps": False}
    (held,), (left,) = (scanner_volumes(1, mapped=mapped, **settings).volumes for mapped in (False, True))
    assert isinstance(left, MappedPack) and torch.equal(left.target, held.target)
