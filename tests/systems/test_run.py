"""Every system of the table on a tiny phantom with a tiny untrained net."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from small_models import CONFIG

from yoda_nb.errors import InputError
from yoda_nb.images.space import resample_like
from yoda_nb.images.volumes import UNKNOWN, Volume, conform
from yoda_nb.metrics.noise import rician_mean, rician_std
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import load_model
from yoda_nb.systems.papers import SYSTEMS
from yoda_nb.systems.run import noise_name, subject_seed, trajectories, translate
from yoda_nb.systems.table import get_system
from yoda_nb.training.batches import TrainConfig
from yoda_nb.training.recipes import describe_phantoms, train_model, training_phantoms

FEW = {"n_steps": 3}  # regression has no noise to refine, so its rows stay at one step
SETTINGS = {
    "yoda-regression": {},
    "yoda-noised": {},
    "yoda-diffusion": FEW,
    "yoda-ddim": FEW,
    "yoda-heun": FEW,
    "yoda-dpmpp": FEW,
    "yoda-expa": {"n_steps": 3, "n_ex": 2},
}


@cache
def case(seed: int = 0) -> Volume:
    return phantom_case(seed, spacing=10.0, shape=(19, 22, 17))


@pytest.fixture
def runs(model):
    """Times that the net ran over a whole volume: with one batch for each, calls are runs."""
    count = []
    handle = load_model(model).net.register_forward_hook(lambda *_: count.append(1))
    yield count
    handle.remove()


def test_every_row_of_yodas_samplers_is_tried_here():
    assert SETTINGS.keys() == {s.name for s in SYSTEMS.values() if not s.weights}  # the others have their own models
    assert all(s.name == name and s.summary and s.reference for name, s in SYSTEMS.items())


@pytest.mark.parametrize("name", SETTINGS)
def test_a_row_makes_the_contrast_on_the_grid_of_the_input(name, model, runs):
    v, settings = case(), SETTINGS[name]
    before = [t.clone() for t in (v.source, v.target, v.mask)]
    made = translate(v, name, model=model, batch_size=1000, **settings)
    assert made.target.shape == v.mask.shape and made.target.dtype == torch.float32
    assert made.contrast == "FLAIR" and np.array_equal(made.affine, v.affine)
    assert made.clean is None and made.sigma is None and made.subject == v.subject
    assert torch.isfinite(made.target).all() and made.target.abs().max() <= 1
    assert (made.target[~v.mask] == -1).all() and made.target[v.mask].std() > 0.01
    assert len(runs) == get_system(name, **settings).evaluations
    assert all(torch.equal(a, b) for a, b in zip(before, (v.source, v.target, v.mask), strict=True))

    again = translate(v, name, model=model, **settings)
    assert torch.equal(made.target, translate(v, name, model=model, batch_size=1000, **settings).target)
    assert torch.allclose(made.target, again.target, atol=0.05)  # batches differ: rounding of 8 bits
    other = translate(v, name, model=model, batch_size=1000, seed=1, **settings)
    assert not torch.equal(made.target, other.target)


def test_the_order_of_subjects_and_of_sources_does_not_matter(model):
    run = lambda v: translate(v, "yoda-diffusion", model=model, **FEW).target  # noqa: E731
    first, second = run(case(0)), run(case(1))
    assert torch.equal(run(case(1)), second) and torch.equal(run(case(0)), first)
    swapped = replace(case(0), source=case(0).source.flip(0), sources=("T2w", "T1w"))
    assert torch.equal(run(swapped), first)


def test_seeds_of_subjects_and_runs_are_streams_of_their_own():
    assert len({subject_seed(s, n) for s in ("a", "b", "a/1") for n in range(50)}) == 150
    assert all(0 <= subject_seed("a", n) < 2**63 for n in range(50))


def test_volumes_that_nobody_named_have_noise_by_their_content(model):
    nobody = [replace(case(k), subject=UNKNOWN) for k in (0, 1)]
    assert noise_name(nobody[0]) != noise_name(nobody[1]) and noise_name(case(0)) == case(0).subject
    again = replace(nobody[0], source=nobody[0].source.clone().permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1))
    assert noise_name(again) == noise_name(nobody[0]), "the content counts, not how it lies in memory"

    def noise(volume):
        made = [translate(volume, "yoda-noised", model=model, noise=n).target for n in (0.0, 0.05)]
        return (made[1] - made[0])[case().mask]

    same, other = noise(nobody[0]), noise(replace(nobody[0], source=nobody[0].source * 0.9999))
    assert torch.equal(same, noise(again)) and same.std() > 0.01
    assert abs(np.corrcoef(same, other)[0, 1]) < 0.2, "other content, other noise"
    named = [replace(v, subject="a") for v in (case(0), replace(nobody[0], source=nobody[0].source * 0.9999))]
    assert np.corrcoef(*map(noise, named))[0, 1] > 0.9, "one name, one noise"


def test_what_the_table_says_is_what_the_paper_does():
    assert get_system("yoda-regression").evaluations == 3  # three views of one step
    assert get_system("yoda-expa", n_ex=10, n_steps=250).evaluations == 2500
    assert (get_system("yoda-diffusion").sampling.jump_to, get_system("yoda-ddim").sampling.sigma) == (250, "zero")
    assert get_system("yoda-heun", n_steps=16).evaluations == 31  # two a step but the last
    assert get_system("yoda-dpmpp", n_steps=16).evaluations == 16
    assert get_system("yoda-heun", n_steps=16, aggregate=True, n_ex=2).evaluations == 2 * 3 * 31


def test_overrides_reach_the_sampler(model, runs):
    seen = []
    settings = {"n_steps": 4, "jump_to": 100, "times": "even", "n_ex": 2, "batch_size": 1000}
    translate(case(), "yoda-expa", model=model, on_step=lambda i, pair, *_: seen.append((i, pair)), **settings)
    pairs = [(999, 100), (100, 66), (66, 33), (33, -1)]
    assert seen == list(enumerate(pairs)) * 2 and len(runs) == 8


def test_views_can_be_chosen(model, runs):
    one = translate(case(), model=model, views=(2,), batch_size=1000).target
    assert len(runs) == 1 and not torch.equal(one, translate(case(), model=model).target)
    # two views weigh the same, whatever their number
    both = translate(case(), model=model, views=(2, 0), half=False).target
    singles = [translate(case(), model=model, views=(v,), half=False).target for v in (2, 0)]
    inside = both.abs() < 1  # the clip is not linear
    inside &= (singles[0].abs() < 1) & (singles[1].abs() < 1)
    assert torch.allclose(both[inside], ((singles[0] + singles[1]) / 2)[inside], atol=1e-5)


def test_expa_is_the_average_of_its_trajectories(model):
    settings = {"model": model, "n_steps": 3, "n_ex": 3}
    samples = torch.stack(list(trajectories(case(), "yoda-expa", **settings)))
    made = translate(case(), "yoda-expa", **settings).target
    rms = (samples + 1).square().mean(0).sqrt() - 1
    inside = case().mask & (samples < 1).all(0)  # a sample is clipped before it can be averaged here
    assert torch.allclose(made[inside], rms[inside], atol=1e-5)
    mean = translate(case(), "yoda-expa", combine="mean", **settings).target
    assert (mean <= made + 1e-6)[inside].all() and not torch.equal(mean, made)
    # a sample does not depend on how many follow
    first = next(trajectories(case(), "yoda-expa", **settings | {"n_ex": 1}))
    assert torch.equal(first, samples[0])


def test_noised_regression_is_regression_plus_rician_noise(model):
    sigma = 0.05
    plain = translate(case(), "yoda-regression", model=model).target
    noised = translate(case(), "yoda-noised", model=model, noise=sigma).target
    assert torch.equal(plain, translate(case(), "yoda-noised", model=model, noise=0.0).target)
    clean, noisy = (((x[case().mask] + 1) / 2).double().numpy() for x in (plain, noised))
    far = clean < 1 - 4 * sigma  # from the clip
    z = ((noisy - rician_mean(clean, sigma)) / rician_std(clean, sigma))[far]
    assert z.size > 300
    assert abs(z.mean()) < 4 / np.sqrt(z.size) and z.std() == pytest.approx(1, abs=4 / np.sqrt(2 * z.size))


def test_homogenised_regression_runs(model):
    plain, corrected = (translate(case(), model=model, homogenise=h).target for h in (False, True))
    assert not torch.equal(plain, corrected) and (corrected[~case().mask] == -1).all()


def test_the_recipe_makes_a_model_that_translate_takes(tmp_path):
    """Training's whole way: phantoms, fit, weights and card, and a run with them."""
    settings = {"sources": ("FLAIR", "T1w"), "target": "T2w", "spacing": 10.0, "shape": (16, 16, 16)}
    volumes = training_phantoms(2, **settings)
    assert [v.subject for v in volumes] == ["phantom-100000", "phantom-100001"]
    config = TrainConfig(net=CONFIG, steps=2, batch_size=2, window=16)
    path, out = tmp_path / "made.safetensors", tmp_path / "run"
    card = train_model(path, config, volumes, out=out, data=describe_phantoms(2, ()), command="test")
    assert card["training"]["last_log"]["step"] == 2 and card["training"]["seconds"] >= 0
    # the second time nothing is left to train, and the card says the same
    assert train_model(path, config, volumes, out=out, data=describe_phantoms(2, ()), command="test") == card
    v = phantom_case(0, spacing=10.0, shape=(19, 22, 17), sources=("T1w", "FLAIR"), target="T2w")
    made = translate(v, model=path)
    assert made.contrast == "T2w" and made.sources == ("T1w", "FLAIR")


# --- other grids


def test_another_spacing_comes_back_on_its_own_grid(model):
    v = conform(case(), 12.0)
    made = translate(v, model=model)
    assert made.target.shape == v.mask.shape != case().mask.shape and np.array_equal(made.affine, v.affine)
    assert (made.target[~v.mask] == -1).all()
    # the same as resampling first, translating there, and resampling back
    inner = conform(v, 10.0)
    there = translate(inner, model=model).target
    back = resample_like(there, inner.affine, v.affine, v.shape, order=3)
    assert torch.allclose(made.target[v.mask], back[v.mask], atol=1e-5)


def test_a_turned_grid_gives_the_turned_image(model):
    """A volume with axes in another order and direction is the same subject."""
    v = case()
    d, h, w = v.shape

    def turned(x):  # (C,D,H,W) -> (C,W,D,H) with W and H reversed
        return x.permute(0, 3, 1, 2).flip(1, 3)

    index = np.array([[0, 1, 0, 0], [0, 0, -1, h - 1], [-1, 0, 0, w - 1], [0, 0, 0, 1.0]])  # new -> old
    unknown = dict.fromkeys(("target", "clean", "labels", "lesions"))
    other = replace(v, affine=v.affine @ index, source=turned(v.source), mask=turned(v.mask), **unknown)
    made = translate(other, model=model)
    assert made.target.shape == (1, w, d, h)
    straight = turned(translate(v, model=model).target)
    assert torch.allclose(made.target, straight, atol=1e-4)


@pytest.mark.parametrize(("name", "settings"), [("yoda-regression", {}), ("yoda-expa", {"n_steps": 3, "n_ex": 3})])
def test_the_spread_is_the_deviation_of_the_predictions_that_are_averaged(name, settings, model):
    v = case()
    plain = translate(v, name, model=model, **settings)
    made = translate(v, name, model=model, spread=True, **settings)
    assert plain.spread is None and torch.equal(made.target, plain.target), "the image is the same"
    if name == "yoda-regression":
        parts = [translate(v, name, model=model, views=(view,)).target for view in range(3)]
    else:
        parts = list(trajectories(v, name, model=model, **settings))
    apart = torch.stack([(x + 1) / 2 for x in parts]).std(0, correction=0)
    torch.testing.assert_close(made.spread, torch.where(v.mask, apart, 0.0), atol=2e-3, rtol=0)
    assert made.spread[v.mask].max() > 0.01, "views and samples of an untrained net differ"


def test_one_sample_of_one_view_has_no_spread(model):
    for settings in ({"views": (2,)}, {"aggregate": False}):
        with pytest.raises(InputError, match="has no spread: choose yoda-regression"):
            translate(case(), model=model, spread=True, **settings)
