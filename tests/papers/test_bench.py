"""The benchmark says what it should and its baseline checks ours; no speed is asserted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from math import isclose, prod

import numpy as np
import pytest
import torch
from small_models import CARD

from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.errors import InputError
from yoda_nb.images.volumes import Volume
from yoda_nb.nets.models import save_model
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.draws import draw_batch
from yoda_papers.bench import STEPS, _compare, baseline_denoiser, memory, run_bench
from yoda_papers.bench.baseline import contenders, ellipsoid, random_net
from yoda_papers.bench.batches import monai_batches
from yoda_papers.bench.floor import Traffic
from yoda_papers.bench.growth import exponent, growth

NET = MonaiUNetConfig(channels=(8, 16), attention=(False, True), head_channels=8, norm_groups=4)
ROI = (13, 11, 9)


@pytest.fixture(scope="module")
def result() -> dict:
    return run_bench(net_config=NET, roi=ROI, repeats=2, memory=False, progress=False)


def test_result_is_json_and_ratios_multiply_to_the_whole(result):
    assert json.loads(json.dumps(result))["speedup_denoiser"] == result["speedup_denoiser"]
    *parts, margin = (result[name] for name in STEPS if name not in ("speedup_denoiser", "speedup_close"))
    assert all(part > 0 for part in (*parts, margin)) and len(parts) == 5
    assert isclose(result["speedup_denoiser"], prod(parts))
    assert isclose(result["speedup_close"], prod(parts) * margin)
    assert {*STEPS, "speedup_batches"} == {name for name in result if name.startswith("speedup_")}
    assert result["cube"] == [14, 14, 14]


def test_ours_gives_the_image_of_the_baseline(result):
    assert result["same_image"] is True
    assert result["differences"]["float32"]["max"] < 1e-4
    assert result["differences"]["half"]["rms"] <= result["tolerance"]["half"]


def test_the_floor_is_of_counted_operations_and_bytes(result):
    floor, gbytes = result["floor_seconds"], result["gbytes_per_evaluation"]
    assert floor["operations"] == pytest.approx(
        result["share_of_matrix_rate"]["ours"] * result["seconds_per_evaluation"]["ours"]
    )
    assert 0 < gbytes["matrix"] < gbytes["all"]
    assert floor["bytes"] * result["copy_gbytes_per_second"] == pytest.approx(gbytes["matrix"])


def test_bytes_are_those_that_operators_move():
    x, w = torch.zeros(2, 3, 8, 8), torch.zeros(4, 3, 3, 3)
    with Traffic() as traffic:
        y = torch.nn.functional.conv2d(x, w, padding=1)
    conv = 4 * (x.numel() + w.numel() + y.numel())
    assert traffic.all == traffic.matrix == conv
    with Traffic() as traffic, torch.inference_mode():
        torch.nn.functional.conv2d(x, w, padding=1)
    assert traffic.all == traffic.matrix == conv
    with Traffic() as traffic:
        x[:, 1:].transpose(0, 1)
    assert traffic.all == 0, "views move nothing"
    with Traffic() as traffic:
        y.add_(1)
        y.bfloat16()
    assert traffic.all == y.numel() * (4 + 4 + 4 + 2) and traffic.matrix == 0


def test_evaluations_cost_what_their_slices_cost(result):
    gflop, seconds = result["gflop_per_evaluation"], result["seconds_per_evaluation"]
    # slices that run times their pixels: 14 cubed for each view against the ellipsoid's slices
    ours = 9 * 12 * 10 + 9 * 14 * 10 + 7 * 14 * 12
    assert gflop["ours"] / gflop["baseline"] == pytest.approx(ours / 3 / 14**3, rel=0.05)
    for name in ("baseline", "ours"):
        rate = gflop[name] / seconds[name]
        assert result["achieved_gflops"][name] == pytest.approx(rate)
        share = rate / result["matrix_gflops"][name]
        assert result["share_of_matrix_rate"][name] == pytest.approx(share)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("view", range(3))
def test_baseline_and_ours_agree_on_any_volume(view, masked):
    net, plan = random_net(NET, 1), schedule()
    generator = torch.Generator().manual_seed(2)
    source = torch.rand((2, 12, 6, 10), generator=generator) * 2 - 1
    x = torch.randn((1, 12, 6, 10), generator=generator)
    mask = ellipsoid((12, 6, 10), 2, 0)[1] if masked else None
    kept = x.clone(), source.clone()
    plain = baseline_denoiser(net, source, plan, mask=mask)(x, 400, view)
    ours = volume_denoiser(net, source, plan, mask=mask, half=False, divisor=2, batch_size=5)
    torch.testing.assert_close(ours(x, 400, view), plain, atol=2e-5, rtol=0)
    assert plain.std() > 0.1 and torch.equal(x, kept[0]) and torch.equal(source, kept[1])


def test_single_changes_keep_the_image_where_the_net_sees_the_same():
    """A region that is a cube already: from the baseline to float32 ours nothing may change."""
    source, mask = ellipsoid((8, 8, 8), 2, 0)
    noise = torch.randn((1, 8, 8, 8), generator=torch.Generator().manual_seed(3))
    runs = contenders(random_net(NET, 0), NET, source, mask, noise, n_steps=3, batch_size=4)
    baseline = runs["baseline"]()
    assert baseline.shape == (1, 8, 8, 8) and (baseline[~mask] == -1).all()
    for name in ("batched", "roi", "masked", "placed"):
        torch.testing.assert_close(runs[name](), baseline, atol=2e-5, rtol=0)


def test_untrained_net_answers_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    net = random_net(NET, 4)
    assert torch.equal(torch.get_rng_state(), before)
    x, times = torch.randn(2, NET.in_channels, 8, 8), torch.tensor([3, 700])
    assert net(x, times).std() > 0.05
    assert torch.equal(random_net(NET, 4)(x, times), net(x, times))


@pytest.mark.parametrize(
    "run, off, same",
    [
        ("batched", 1e-3, False),  # float32 may differ by rounding alone
        ("ours_on_cube", 1e-2, True),  # half precision by what it does to the baseline itself
        ("ours_on_cube", 2e-2, False),
        ("masked", 0.5, True),  # a region sees other surroundings: told, not judged
        ("close", 0.5, True),  # so does a margin
    ],
)
def test_same_image_means_rounding_alone(run, off, same):
    names = ("baseline", "baseline_half", "batched", "ours_on_cube", "masked", "ours", "close")
    mask = torch.ones(1, 2, 2, 2, dtype=torch.bool)
    images = {name: torch.zeros(1, 2, 2, 2) for name in names}
    images["baseline_half"] = images["baseline_half"] + 1e-2
    images[run] = images[run] + off
    assert _compare(images, mask, torch.device("cpu"))["same_image"] is same


def test_memory_is_measured_in_a_new_process(tmp_path, monkeypatch):
    model = tmp_path / "untrained.safetensors"
    save_model(random_net(NET, 0), model, config=NET, card=CARD)
    settings = {"roi": ROI, "seed": 0, "device": "cpu", "n_ex": 2, "n_steps": 3, "batch_size": 2}
    assert 0.1 < memory._in_new_process(model=str(model), **settings) < 2000
    monkeypatch.setattr(memory.sys, "executable", shutil.which("false"))
    with pytest.raises(InputError, match="memory run stopped with code 1"):
        memory._in_new_process(model=str(model), **settings)


def test_memory_ratios(monkeypatch):
    # 20 MB, 4 more for each further sample and 1 for each further step
    cost = lambda n_ex, n_steps, **_: 20 + 4 * (n_ex - 1) + (n_steps - 3)  # noqa: E731
    monkeypatch.setattr(memory, "_in_new_process", cost)
    use = memory.memory_use(NET, ROI)
    assert (use["memory_ratio_n_ex"], use["memory_ratio_n_steps"]) == (40 / 20, 35 / 20)


def test_batches_of_the_baseline_are_cut_like_ours():
    """The volume holds its own coordinates, so a slab tells where it was cut, and how it lies."""
    where = torch.stack(torch.meshgrid(*(torch.arange(n) / 32.0 for n in (12, 14, 16)), indexing="ij"))
    mask = torch.ones((1, 12, 14, 16), dtype=torch.bool)
    volume = Volume(where[1:], mask, np.diag([3.0, 3, 3, 1]), ("S0", "S1"), target=where[:1])
    config = TrainConfig(net=NET, window=8, batch_size=60, augment=0.0)
    theirs, ours = next(monai_batches([volume], config, 0, 1)), draw_batch(make_pool([volume], config), config, 0)
    views = []
    for batch in (theirs, ours):
        assert batch.target.shape == (60, 5, 8, 8) and batch.source.shape == (60, 10, 8, 8)
        slabs = torch.stack([batch.target, *batch.source.split(5, 1)], 1) * 32  # (N,3,S,A,B): each voxel's place
        along = [slabs.diff(dim=d).abs().flatten(2).amax(2).round() for d in (2, 3, 4)]  # (N,3) each
        assert all(set(step.unique().tolist()) <= {0, 1} for step in along)
        views.append([int((along[0].argmax(1) == axis).sum()) for axis in range(3)])
        mirrored = (slabs.diff(dim=3) < 0).flatten(1).any(1)
        assert 5 < int(mirrored.sum()) < 35 and not mirrored[along[0][:, 0] == 1].any(), "never a sagittal one"
    assert all(n > 5 for counts in views for n in counts), views
    for name, value in vars(theirs).items():
        if name not in ("keys", "noise"):
            assert value.shape == getattr(ours, name).shape, name


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.0, 1.7])
def test_the_exponent_of_a_power_law_is_found(power):
    assert exponent({x: 3 * x**power for x in (2, 4, 8, 64)}) == pytest.approx(power, abs=1e-12)


def test_work_grows_with_voxels_steps_and_samples_and_no_faster(monkeypatch):
    """Operations, which do not depend on what else a machine does; seconds and memory are told, not judged.

    Of a net without attention, which grows with the square of a slice and is most of so small a net.
    """
    for name, values in (("STEPS", (3, 6)), ("N_EX", (2, 4))):
        monkeypatch.setattr(f"yoda_papers.bench.growth.{name}", values)
    found = growth(replace(NET, attention=(False, False)), memory=False, sides=(16, 24, 32))
    assert json.loads(json.dumps(found))["exponent_gflop_by_voxels"] == found["exponent_gflop_by_voxels"]
    assert found["exponent_gflop_by_n_steps"] == pytest.approx(1, abs=1e-6)
    assert found["exponent_gflop_by_n_ex"] == pytest.approx(1, abs=1e-6)
    assert 0.9 < found["exponent_gflop_by_voxels"] < 1.05
    assert set(found["growth"]) == {f"{a}_by_{b}" for a in ("gflop", "seconds") for b in ("voxels", "n_steps", "n_ex")}
