"""Every row of the table with its own shipped model: images, cards, sizes, the list."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.diffusion.system import Sampling
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.base import config_from_dict
from yoda_nb.nets.models import has_card, read_card, shipped_file
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.preparation.load import load_volume
from yoda_nb.systems.models import is_shipped, load_model
from yoda_nb.systems.papers import NETS, PAPERS, SYSTEMS, TRAININGS
from yoda_nb.systems.run import translate
from yoda_nb.systems.table import FIXED, describe_systems, get_system, parse_settings, rows_for, settings_of
from yoda_nb.systems.train import model_name
from yoda_nb.training.rows import BUDGET
from yoda_papers import translations

OWN = [row.name for row in SYSTEMS.values() if is_shipped(row.weights)]
CARDS = [path for name in TRAININGS if has_card(path := shipped_file(model_name(name)))]
MB = 1e6


BOTH = ("T1w", "T2w")
REAL = [name for name in OWN if set(read_card(shipped_file(SYSTEMS[name].weights))["sources"]) <= {*BOTH}]


def case(name: str = "unet") -> Volume:
    """The middle of a brain as the row's model was trained on it, with a source too many for some."""
    row = TRAININGS[SYSTEMS[name].weights.rpartition("/")[2]]
    return _case(BOTH if set(row.sources) <= {*BOTH} else row.sources, row.target, row.phantoms.get("spacing", 3.0))


@cache
def _case(sources: tuple[str, ...], target: str, spacing: float) -> Volume:
    return phantom_case(7, shape=(24, 32, 24), sources=sources, target=target, spacing=spacing)


def few(name: str) -> dict:
    """As few steps as the row can take."""
    row = SYSTEMS[name]
    return {"n_steps": min(row.n_steps, 3)} if row.n_steps > 1 else {}


@pytest.mark.parametrize("name", OWN)
def test_a_row_makes_its_contrast_repeats_itself_and_evaluates_its_net_as_often_as_it_says(name):
    row = SYSTEMS[name]
    assert isinstance(row.sampling, Sampling) and row.paper in PAPERS
    settings, count = few(name), []
    handle = load_model(row.weights).net.register_forward_hook(lambda *_: count.append(1))
    try:
        made = translate(case(name), name, batch_size=1000, **settings)
    finally:
        handle.remove()
    said = get_system(name, **settings).evaluations
    # a recursion ends early where it has converged
    assert len(count) == said if getattr(row.sampling, "recursions", 1) == 1 else 1 <= len(count) <= said
    assert made.contrast == load_model(row.weights).contrast
    assert made.target.shape == case(name).mask.shape and torch.isfinite(made.target).all()
    assert (made.target[~case(name).mask] == -1).all() and made.target[case(name).mask].std() > 0.02
    assert torch.equal(made.target, translate(case(name), name, batch_size=1000, **settings).target)


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_a_card_tells_the_effort(path):
    card = load_model(model_name(path.stem)).card if path.exists() else read_card(path)
    row, training = TRAININGS[path.stem], card["training"]
    assert not path.exists() or path.stat().st_size <= 1.5 * MB
    assert config_from_dict(card["net"], NETS) == row.config.net
    assert training["slabs_seen"] == row.config.steps * row.config.batch_size * row.config.net.counted
    if not row.variant:  # patches are many slabs each
        shared = BUDGET * translations.BUDGETS if path.stem in translations.TRAININGS else BUDGET
        assert training["slabs_seen"] == pytest.approx(shared, rel=1e-3)
    assert training["seconds"] > 0 and training["machine"] and training["seed"] == row.config.seed
    assert path.stem in training["command"] and training["history"][-1]["step"] == row.config.steps
    assert (tuple(card["sources"]), card["target"]) == (row.sources, row.target)


def test_the_models_together_are_small_and_belong_to_the_table():
    trained = {path.stem for path in CARDS}
    for name in (row.weights.rpartition("/")[2] for row in SYSTEMS.values() if row.weights):
        assert name in trained and (is_shipped(model_name(name)) or TRAININGS[name].variant)
    weights = [path for path in CARDS if not TRAININGS[path.stem].variant]
    assert weights and sum(path.stat().st_size for path in weights) <= 20 * MB


def test_the_list_tells_paper_reference_state_and_cost():
    done = CliRunner().invoke(app, ["systems", "--json"])
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == list(SYSTEMS) and {row["paper"] for row in rows.values()} == set(PAPERS)
    for name, row in rows.items():
        assert row["reference"] and row["evaluations"] >= 1
        if name in OWN or not SYSTEMS[name].weights:
            assert row["state"] == "ready"
            assert row["parameters"] > 1e4 and row["slabs"] > 1e4 and row["machine"]
        else:
            assert row["state"] == "not trained" and row["parameters"] is None


def test_a_row_without_its_weights_says_so_and_keeps_what_its_card_knows(monkeypatch):
    monkeypatch.setattr("yoda_nb.systems.table.is_shipped", lambda name: "/" not in name)
    rows = {row["name"]: row for row in describe_systems()}
    assert rows["yoda-regression"]["state"] == "ready"
    for name in OWN:
        assert rows[name]["state"] == "weights not here" and rows[name]["parameters"] is None
        assert rows[name]["slabs"] > 1e4 and rows[name]["translates"]


def test_a_row_without_a_card_is_not_trained(monkeypatch, tmp_path):
    monkeypatch.setattr("yoda_nb.nets.models.FOLDERS", [tmp_path])
    monkeypatch.setattr("yoda_nb.systems.table.find_model", lambda *contrasts: "tiny-t1w-t2w-flair")
    for row in describe_systems():
        assert row["state"] == "not trained" and row["slabs"] is None


def test_rows_are_offered_for_the_contrasts_that_they_take():
    flair = rows_for(BOTH, "FLAIR")
    assert {"yoda-regression", "yoda-diffusion", "unet", "fast-unet"} <= set(flair)
    assert not {"fast-unet-ff", "unet-cta"} & set(flair) and set(flair) <= {*OWN, *(n for n in SYSTEMS if "yoda" in n)}
    one = rows_for(("T2w",), "FLAIR")
    assert "fast-unet" in one and "unet" not in one and "yoda-regression" not in one
    assert rows_for(("T2w",), "FF") == ["fast-unet-ff", "ddpm-50-ff"] and rows_for((), "FLAIR") == []


def test_settings_are_read_as_their_types():
    words = {"n_steps": "7", "jump_to": "none", "sigma": "zero", "clip": "true", "views": "2,0", "noise": "0.2"}
    wanted = {"n_steps": 7, "jump_to": None, "sigma": "zero", "clip": True, "views": (2, 0), "noise": 0.2}
    assert parse_settings("yoda-diffusion", words) == wanted
    assert parse_settings("yoda-diffusion", {"jump_to": "250"}) == {"jump_to": 250}
    assert parse_settings("bbdm", {"correction_size": "0.2", "co_predict": "false", "style": "exact"}) == {
        "correction_size": 0.2,
        "co_predict": False,
        "style": "exact",
    }
    for words in ({"n_steps": "many"}, {"clip": "maybe"}, {"views": "a"}, {"weights": "x"}, {"nonsense": "1"}):
        with pytest.raises(InputError, match=next(iter(words))):
            parse_settings("yoda-diffusion", words)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("yoda-regression", {"views": ()}, "looks along views"),
        ("yoda-regression", {"views": (3,)}, "looks along views"),
        ("bbdm", {"corrections": -1}, "corrections must be at least 0"),
        ("selfrdb", {"recursions": 0}, "recursions must be at least 1"),
        ("adm", {"slice_size": -1}, "slice_size must be at least 0"),
        ("bbdm", {"ends": "shut"}, r"ends must be open \| closed \| trained, got shut"),
        ("bbdm", {"sigma": "fresh"}, r"sigma must be posterior \| mean \| zero, got fresh"),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, says):
    with pytest.raises(InputError, match=says):
        get_system(name, **settings)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_takes_its_own_settings_and_those_of_its_process_alone(name):
    row = SYSTEMS[name]
    known = settings_of(row)
    assert get_system(name, **known) == row
    assert {"n_steps", "views", "clip", "n_ex"} <= set(known) and not set(FIXED) & set(known)
    foreign = {other for each in SYSTEMS.values() for other in settings_of(each)} - set(known)
    for setting in sorted(foreign | {"weights", "paper", "sampling"}):
        with pytest.raises(InputError, match=rf"{name} has no setting {setting}: choose among .*n_steps") as said:
            get_system(name, **{setting: 1})
        assert all(own in str(said.value) for own in known)


def test_a_source_too_many_does_no_harm_and_one_too_few_is_named():
    only = replace(case(), source=case().source[1:], sources=("T2w",))
    assert torch.equal(translate(only, "fast-unet").target, translate(case(), "fast-unet").target)
    with pytest.raises(InputError, match=r"translates T1w\+T2w, but phantom-7 has T2w"):
        translate(only, "unet")


@cache
def template(folder) -> Volume:
    """Real T1 and T2 templates of SPM on their own grid of 2 mm."""
    return load_volume({"T1w": folder / "avg152T1.nii.gz", "T2w": folder / "avg152T2.nii.gz"})


@pytest.mark.parametrize("name", REAL)
def test_a_row_translates_real_images_on_their_own_grid(name, mirror):
    v = template(mirror / "spm_canonical")
    made = translate(v, name, batch_size=64, **few(name))
    assert made.target.shape == v.mask.shape and (made.affine == v.affine).all()
    values = made.target[v.mask]
    assert torch.isfinite(values).all() and values.std() > 0.02
    assert (made.target[~v.mask] == -1).all()
