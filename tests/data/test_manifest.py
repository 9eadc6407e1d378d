"""The manifest: what the shipped one lists, and how rows become volumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import ball, manifest

from yoda_nb.data.manifest import check, load_case, read_manifest
from yoda_nb.data.places import MANIFEST
from yoda_nb.errors import InputError


def test_shipped_manifest_lists_what_the_project_promises():
    count = lambda **wanted: len(read_manifest(MANIFEST, **wanted))  # noqa: E731
    assert [count(dataset="phantom", split=s) for s in ("train", "val", "test")] == [32, 4, 30]
    assert count(dataset="phantom-b") == count(dataset="phantom-b", split="test") == 8
    assert [count(dataset="phantom-labels", split=s) for s in ("train", "test")] == [10, 8]
    maps = read_manifest(MANIFEST, dataset="synthseg")
    assert len(maps) == 12 and all(len(m.images["labels"].sha256) == 64 for m in maps)
    left_out = {m.images["labels"].uri for m in maps if m.split == "test"}
    trained = read_manifest(MANIFEST, dataset="phantom-labels", split="train")
    assert len(left_out) == 2 and not left_out & {case.anatomy.uri for case in trained}


def test_the_same_maps_are_at_hand_in_the_mirror(mirror):
    cases = [case for case in read_manifest(MANIFEST) if case.dataset != "ms"]
    assert {row["status"] for row in check(cases, mirror=mirror)} == {"present", "generated"}


def test_what_is_in_the_mirror_of_the_patients_is_what_was_published(mirror):
    here = [path for path in (mirror / "ms").rglob("*.nii.gz")]
    if not here:
        pytest.skip("the mirror has no folder ms")
    rows = check(read_manifest(MANIFEST, dataset="ms"), mirror=mirror)
    found = {Path(row["where"]) for row in rows if row["status"] == "present"}
    assert {row["status"] for row in rows} <= {"present", "missing"}  # no file is another patient's of that name
    assert found == {path for path in here if path.name not in ("gt.nii.gz", "brainmask.nii.gz")}


def test_files_become_a_volume(tmp_path):
    rows = []
    for contrast, value in (("T1w", 1), ("T2w", 2), ("FLAIR", 3), ("mask", 1)):
        ball(tmp_path, f"{contrast}.nii.gz", value)
        rows.append({"contrast": contrast, "uri": f"{contrast}.nii.gz"})
    (case,) = read_manifest(manifest(tmp_path, *rows))
    volume = load_case(case, sources=("T1w", "T2w"), target="FLAIR")
    assert volume.sources == ("T1w", "T2w") and volume.contrast == "FLAIR"
    assert volume.subject == "s1" and volume.source.shape == (2, 20, 20, 20)
    assert load_case(case, sources=["T1w"]).target is None
    with pytest.raises(InputError, match="has no CT: choose among T1w, T2w, FLAIR, mask"):
        load_case(case, sources=("T1w", "CT"))


def test_phantoms_are_generated_as_the_row_says(tmp_path, monkeypatch):
    from yoda_nb.data import phantom

    calls, real = [], phantom.phantom_case

    def spy(seed, **options):
        calls.append((seed, options))
        return real(seed, **{k: v for k, v in options.items() if k != "anatomy"})

    monkeypatch.setattr(phantom, "phantom_case", spy)
    label_map = ball(tmp_path, "map.nii.gz")
    path = manifest(
        tmp_path,
        {"subject": "m", "contrast": "labels", "uri": "map.nii.gz"},
        {"contrast": "any", "subject": "p", "uri": "phantom:7?sigma=0.06&protocol=b&lesions=false&anatomy=m"},
    )
    case = read_manifest(path)[1]
    volume = load_case(case, sources=["T2w"], target="T1w", spacing=8)
    assert calls == [
        (
            7,
            dict(
                sources=("T2w",),
                target="T1w",
                sigma=0.06,
                protocol="b",
                lesions=False,
                anatomy=label_map,
                spacing=8.0,
                shape=(24, 24, 24),
            ),
        )
    ]
    assert volume.subject == "p" and volume.shape == (24, 24, 24)
    assert volume.sources == ("T2w",) and volume.contrast == "T1w" and volume.sigma == 0.06
    again = load_case(case, sources=["T2w"], spacing=8)
    assert again.target is None and (again.source == volume.source).all()
