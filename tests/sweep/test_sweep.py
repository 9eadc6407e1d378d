"""Sweeps: what a plan means, what is kept of it, and that nothing which happens to a worker changes the table."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
import torch
from small_models import CARD, CONFIG
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.manifest import load_case
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import save_image
from yoda_nb.metrics.images import evaluate
from yoda_nb.nets.models import save_model
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.sweep import cohort, make_plan, read_plan, read_table, read_trials, sweep, trials
from yoda_nb.sweep.record import DONE, Entry, append, journal, read_journal, table_of
from yoda_nb.sweep.trial import image_of
from yoda_nb.systems.run import translate

HEAD = "dataset,subject,split,contrast,uri,sha256,licence,source,notes\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A manifest of three small phantoms, and a model for them."""
    root = tmp_path_factory.mktemp("cohort")
    rows = [f"mine,p{k},test,any,phantom:{k}?spacing=6&sigma=0.0{k},n/a,n/a,n/a,n/a\n" for k in (1, 2, 3)]
    (root / "cohort.csv").write_text(HEAD + "".join(rows))
    torch.manual_seed(0)
    save_model(CONFIG.build().eval(), root / "tiny.safetensors", config=CONFIG, card=CARD | {"spacing_mm": 6.0})
    return root


def plan(folder, *systems, **fields):
    rows = [{"model": str(folder / "tiny.safetensors"), **row} for row in systems or ({"name": "yoda-regression"},)]
    return make_plan({"study": str(folder / "cohort.csv"), "systems": rows, **fields})


def test_a_plan_is_crossed_and_stays_with_a_subject(folder):
    ddim = {"name": "yoda-ddim", "n_steps": [2, 3], "n_ex": [1, 2], "views": [[2], [0, 1, 2]]}
    found = trials(plan(folder, {"name": "yoda-regression"}, ddim, subjects=2, seeds=[0, 7]))
    assert len(found) == 2 * (1 + 8) * 2 == len({t.key for t in found})
    assert [t.case.subject for t in found] == ["p1"] * 18 + ["p2"] * 18
    assert dict(found[2].settings) == {"n_steps": 2, "n_ex": 1, "views": (2,)}
    assert [t.seed for t in found[:4]] == [0, 7, 0, 7]
    twice = trials(plan(folder, {"name": "yoda-ddim", "n_steps": [2, 2]}, subjects=["p3"]))
    assert [t.case.subject for t in twice] == ["p3"], "what is asked for twice is done once"


def test_a_file_says_what_options_say(folder, tmp_path):
    (tmp_path / "plan.toml").write_text(
        f'study = "{os.path.relpath(folder / "cohort.csv", tmp_path)}"\nsubjects = 2\n'
        f'[[systems]]\nname = "yoda-ddim"\nn_steps = [2, 3]\nmodel = "{folder / "tiny.safetensors"}"\n'
    )
    told = trials(make_plan(read_plan(tmp_path / "plan.toml")))
    ddim = {"name": "yoda-ddim", "n_steps": ["2", "3"]}
    assert [t.key for t in told] == [t.key for t in trials(plan(folder, ddim, subjects=2))]


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"systems": []}, "systems"),
        ({"systems": [{"name": "nonsense"}]}, "nonsense"),
        ({"systems": [{"name": "unet", "n_stepz": 3}]}, "n_stepz"),
        ({"systems": [{"name": "unet", "n_steps": "many"}]}, "n_steps=many"),
        ({"systems": [{"name": "unet", "model": "none.safetensors"}]}, "none.safetensors"),
        ({"systems": [{"name": "unet"}], "subjects": ["nobody"]}, "nobody"),
        ({"systems": [{"name": "unet"}], "subjects": -1}, "-1"),
        ({"systems": [{"name": "unet"}], "split": "moon"}, "moon"),
        ({"systems": [{"name": "unet"}], "colour": "red"}, "colour"),
        ({"systems": [{"name": "unet"}], "seeds": ["x"]}, "seeds"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_in_a_sentence(folder, fields, says):
    with pytest.raises(InputError, match=says) as error:
        trials(make_plan({"study": str(folder / "cohort.csv"), **fields}))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_plan(tmp_path):
    (tmp_path / "plan.toml").write_text("subjects = = 2")
    for name in ("plan.toml", "absent.toml"):
        with pytest.raises(InputError, match="not a valid plan"):
            read_plan(tmp_path / name)


def test_a_key_changes_with_all_that_decides_an_image(folder, tmp_path):
    (first, *_) = trials(plan(folder))
    others = [replace(first, seed=1), replace(first, system="yoda-diffusion"), replace(first, settings=(("n_ex", 2),))]
    file = tmp_path / "a.nii.gz"
    file.write_bytes(b"1")
    case = replace(first.case, root=tmp_path, images={"T1w": replace(first.case.images["any"], uri="a.nii.gz")})
    others += [replace(first, case=case), replace(first, model="")]
    assert len({t.key for t in [first, *others]}) == 1 + len(others)
    before = replace(first, case=case).key
    file.write_bytes(b"12")
    assert replace(first, case=case).key != before, "the file has changed"
    before, told = replace(first, case=case).key, file.stat()
    file.write_bytes(b"34")
    os.utime(file, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert replace(first, case=case).key != before, "another content of the same size and date"


def test_a_device_is_part_of_a_key_and_is_checked_before_anything_is_read(folder, tmp_path, monkeypatch):
    (first, *_) = trials(plan(folder))
    cpu, gpu, other = (replace(first, device=name).key for name in ("cpu", "cuda", "cuda:1"))
    assert first.key == cpu != gpu == other, "here is no GPU, so without a name it is the CPU"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert replace(first).key == gpu
    monkeypatch.undo()
    monkeypatch.setattr("yoda_nb.sweep.cases_of", lambda *_: pytest.fail("subjects are read"))
    for name in ("gpu", "cuda:7", "mps"):
        with pytest.raises(InputError, match=f"no device '{name}' here"):
            sweep(plan(folder, device=name), tmp_path / "out", workers=0)
    with pytest.raises(InputError, match="'gpu'"):  # what another machine has is not known, but this is no device
        sweep(plan(folder, device="gpu"), tmp_path / "out", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "out").exists()


def test_what_another_kind_of_device_did_is_done_again_here(folder, tmp_path):
    todo = trials(plan(folder))
    with journal(tmp_path) as lines:
        for trial, device in zip(todo, ("cuda", "cpu", ""), strict=True):
            append(lines, Entry(trial.key, DONE, [{"reference": "truth", "ssim": 0.5}], device=device))
    table = sweep(plan(folder), tmp_path, workers=0)
    again = (table.ssim != 0.5).tolist()
    assert list(table.subject) == ["p1", "p1", "p2", "p3"] and again == [True, True, False, False]


def test_every_score_is_kept_and_none_is_taken_for_a_setting(folder):
    todo = trials(plan(folder, {"name": "yoda-noised", "noise": ["0.02", "0.04"]}))
    row = {"reference": "truth", "ssim": 0.5, "noise": 0.03, "bone_dice": 0.9, "new": None}
    table = table_of(todo, {t.key: Entry(t.key, DONE, [row]) for t in todo})
    assert table.columns[-2:].tolist() == ["bone_dice", "new"] and table.new.isna().all() and table.columns.is_unique
    assert set(table.bone_dice) == {0.9} and set(table.noise) == {0.03} and set(table.setting_noise) == {0.02, 0.04}
    assert cohort.ways(table)[:2] == ["yoda-noised, setting_noise 0.02", "yoda-noised, setting_noise 0.04"]


def test_results_stay_out_of_the_study_that_is_read(folder, tmp_path):
    volume = phantom_case(1, spacing=6.0, shape=(32, 32, 32))
    (tmp_path / "scans").mkdir()
    rows = ""
    for k, name in enumerate(volume.sources):
        save_image(volume.source[k : k + 1], volume, tmp_path / "scans" / f"{name}.nii.gz")
        rows += f"mine,a,test,{name},scans/{name}.nii.gz,n/a,n/a,n/a,n/a\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "T1w.nii.gz").write_bytes(b"no scan")
    (tmp_path / "study.csv").write_text(HEAD + rows + "mine,b,test,T1w,other/T1w.nii.gz,n/a,n/a,n/a,n/a\n")
    before = sorted(tmp_path.rglob("*"))
    for out in ("scans", ".", "other"):  # nor beside one that is left out
        with pytest.raises(InputError, match="lies in the study"):
            sweep(plan(folder, study=str(tmp_path / "study.csv"), subjects=["a"]), tmp_path / out, workers=0)
    assert sorted(tmp_path.rglob("*")) == before
    shutil.copy(tmp_path / "study.csv", tmp_path / "plan.json")
    with pytest.raises(InputError):
        sweep(plan(folder, study=str(tmp_path / "plan.json")), tmp_path, workers=0)
    given = ["sweep", str(tmp_path / "plan.json"), "-o", str(tmp_path), "--workers", "0"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2 and "the plan itself" in done.stderr


def test_names_that_are_no_utf8_do_not_break_a_sweep(folder, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(folder, odd)
    fields = {"study": str(odd / "cohort.csv"), "subjects": 2, "mirror": str(odd)}
    table = sweep(plan(folder, **fields), odd / "out", workers=0)
    assert set(table.state) == {DONE}
    pd.testing.assert_frame_equal(read_table(odd / "out"), table)
    assert [t.key for t in read_trials(odd / "out")] == list(read_journal(odd / "out"))


def test_rows_are_what_translate_and_evaluate_give(folder, tmp_path):
    table = sweep(plan(folder, {"name": "yoda-ddim", "n_steps": 2, "n_ex": 2}, seeds=[3]), tmp_path, workers=0)
    assert list(table.subject) == ["p1", "p1", "p2", "p2", "p3", "p3"] and set(table.state) == {DONE}
    assert list(table.reference) == ["acquired", "truth"] * 3 and set(table.n_steps) == {2}
    (trial, *_) = trials(plan(folder, {"name": "yoda-ddim", "n_steps": 2, "n_ex": 2}, seeds=[3]))
    v = load_case(trial.case, sources=trial.sources, target=trial.target)
    model = str(folder / "tiny.safetensors")
    made = translate(v, "yoda-ddim", seed=3, model=model, n_steps=2, n_ex=2)
    assert torch.equal(image_of(trial, v)[1], made.target)
    own = evaluate(v, made, reference="truth")
    row = table[(table.subject == "p1") & (table.reference == "truth")].iloc[0]
    assert {k: row[k] for k in own} == pytest.approx(own, abs=0)
    pd.testing.assert_frame_equal(read_table(tmp_path), table)


def test_what_is_done_is_not_done_again_and_more_is_added(folder, tmp_path, monkeypatch):
    sweep(plan(folder), tmp_path, workers=0)
    before = (tmp_path / "table.parquet").read_bytes()
    monkeypatch.setattr("yoda_nb.sweep.run_trial", lambda *_: pytest.fail("this was done"))
    sweep(plan(folder), tmp_path, workers=0)
    assert (tmp_path / "table.parquet").read_bytes() == before
    monkeypatch.undo()
    more = sweep(plan(folder, {"name": "yoda-regression"}, {"name": "yoda-ddim", "n_steps": 2}), tmp_path, workers=0)
    assert len(more) == 12 and len(read_journal(tmp_path)) == 6


def test_a_subject_that_fails_is_listed_and_tried_again_next_time(folder, tmp_path):
    (tmp_path / "bad.csv").write_text(HEAD + "mine,bad,test,T1w,lost.nii.gz,n/a,n/a,n/a,n/a\n"
                                      "mine,p1,test,any,phantom:1?spacing=6,n/a,n/a,n/a,n/a\n")  # fmt: skip
    given = ["--study", tmp_path / "bad.csv", "--model", folder / "tiny.safetensors", "--system", "yoda-regression"]
    done = CliRunner().invoke(app, ["sweep", *map(str, given), "-o", str(tmp_path / "out"), "--workers", "0", "--json"])
    assert done.exit_code == 2 and "bad, yoda-regression: bad of mine has no T2w" in done.stderr
    assert json.loads(done.stdout)["failed"] == 1 and "1 of 3 rows" in done.stderr
    table = read_table(tmp_path / "out")
    assert list(table.state) == ["failed", "done", "done"] and table.ssim.isna().tolist() == [True, False, False]
    assert len((tmp_path / "out" / "journal.jsonl").read_text().splitlines()) == 2
    CliRunner().invoke(app, ["sweep", *map(str, given), "-o", str(tmp_path / "out"), "--workers", "0"])
    assert len((tmp_path / "out" / "journal.jsonl").read_text().splitlines()) == 3, "the failed one alone"


def test_a_journal_that_was_cut_loses_its_last_line_alone(tmp_path):
    entries = [Entry(str(k), DONE, [{"ssim": k / 10}]) for k in range(3)]
    with journal(tmp_path) as lines:
        for entry in entries:
            append(lines, entry)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with journal(tmp_path) as lines:
            append(lines, Entry("new", DONE, []))
        found = read_journal(tmp_path)
        kept = whole[:cut].count(b"\n")
        assert "new" in found and list(found)[:kept] == ["0", "1", "2"][:kept] and len(found) <= kept + 2


def test_one_folder_has_one_writer(tmp_path):
    with journal(tmp_path), pytest.raises(InputError, match="Another sweep"), journal(tmp_path):
        pass


def test_the_table_does_not_know_in_which_order_things_were_done(folder):
    todo = trials(plan(folder, {"name": "yoda-ddim", "n_steps": [2, 3]}))
    ended = {t.key: Entry(t.key, DONE, [{"model": "m", "reference": "truth", "ssim": 0.5}]) for t in todo[1:]}
    shuffled = dict(random.Random(1).sample(list(ended.items()), len(ended)))
    pd.testing.assert_frame_equal(table_of(todo, ended), table_of(todo, shuffled))
    assert len(table_of(todo, ended)) == len(todo) - 1 and len(table_of(todo, {})) == 0


def test_a_killed_sweep_goes_on_to_the_same_table(folder, tmp_path):
    systems = ({"name": "yoda-regression"}, {"name": "yoda-ddim", "n_steps": [2, 3]})
    sweep(plan(folder, *systems), tmp_path / "whole", workers=0)
    words = ["--study", folder / "cohort.csv", "--model", folder / "tiny.safetensors", "-o", tmp_path / "cut"]
    (tmp_path / "plan.toml").write_text(
        '[[systems]]\nname = "yoda-regression"\n[[systems]]\nname = "yoda-ddim"\nn_steps = [2, 3]\n'
    )
    command = [sys.executable, "-m", "yoda_nb", "sweep", tmp_path / "plan.toml", *words, "--workers", "0"]
    log = tmp_path / "cut" / "journal.jsonl"
    child = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 300
        while child.poll() is None and time.monotonic() < limit:
            if log.exists() and log.read_text().count("\n") >= 2:
                break
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    assert 2 <= len(read_journal(tmp_path / "cut")) <= 9
    sweep(plan(folder, *systems), tmp_path / "cut", workers=0)
    tables = [(tmp_path / name / "table.parquet").read_bytes() for name in ("cut", "whole")]
    assert tables[0] == tables[1]
