"""Bridges, slice-consistent sampling and style keys (seed 004) against closed forms."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yoda_nb.data.phantom import phantom_case
from yoda_nb.diffusion.bridges import bridge, bridge_step, kernel_variance, posterior_std, score
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import sample, time_pairs
from yoda_nb.errors import InputError
from yoda_nb.figures import explorers
from yoda_nb.images.styles import SCALE, histogram, nearest, pack, style_key, unpack
from yoda_nb.nets.base import build
from yoda_nb.nets.models import Model, save_model
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.papers.bridge import style_histograms
from yoda_nb.papers.bridge.ista import corrected
from yoda_nb.papers.bridge.method import bridge_loss, prior_slabs
from yoda_nb.papers.bridge.process import style_histogram
from yoda_nb.study.claims.bridge import residual, slice_means, unevenness
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import TrainConfig, draw_batch, make_pool

T = 40
NET = UNetConfig(channels=(8, 8), attention=(False, False), embedding=16, thickness=3, out_slices=3, style_bins=16)


@pytest.fixture
def path():
    return bridge("brownian", T)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((1, 6, 5, 4), generator=generator, dtype=torch.float64) for _ in range(3)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- the bridge ---


def test_a_brownian_bridge_starts_at_the_target_and_ends_at_the_source(path):
    assert path.at(-1) == (1, 0, 0)
    assert path.at(T - 1) == (0, 1, 0)
    assert path.std.max() == pytest.approx(0.5**0.5)  # half way, with s = 1


def test_walking_the_markov_kernel_gives_the_marginals(path):
    """x_t = (a_t / a_s) x_s + (b_t - a_t b_s / a_s) y + sqrt(var_{t|s}) eps, one step at a time."""
    x0, y = 0.7, -0.4
    x = torch.full((40_000,), x0, dtype=torch.float64)
    for t in range(T - 1):
        (a_t, b_t, std_t), (a_s, b_s, _) = path.at(t), path.at(t - 1)
        walk = kernel_variance(path, t, t - 1) ** 0.5 * random(len(x), seed=t)
        x = a_t / a_s * x + (b_t - a_t / a_s * b_s) * y + walk
        if t in (0, T // 2, T - 2):
            assert float(x.mean()) == pytest.approx(a_t * x0 + b_t * y, abs=0.015)
            assert float(x.std()) == pytest.approx(std_t, rel=0.02)


@pytest.mark.parametrize(("t", "s"), [(30, 29), (30, 10), (1, 0)])
def test_the_posterior_is_that_of_bayes(path, t, s):
    """q(x_s | x_t, x0, y) from the product of two Gaussians on a grid of x_s."""
    x0, y, x_t = 0.3, -0.8, 0.25
    (a_t, b_t, _), (a_s, b_s, std_s) = path.at(t), path.at(s)
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    prior = -((grid - a_s * x0 - b_s * y) ** 2) / (2 * std_s**2)
    kernel = -((x_t - a_t / a_s * grid - (b_t - a_t / a_s * b_s) * y) ** 2) / (2 * kernel_variance(path, t, s))
    p = torch.softmax(prior + kernel, 0)
    mean = (p * grid).sum()
    std = ((p * (grid - mean) ** 2).sum()) ** 0.5
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = bridge_step(x_t * one, x0 * one, t, s, 0 * one, y=y * one, bridge=path)
    assert float(found) == pytest.approx(float(mean), abs=1e-6)
    assert posterior_std(path, t, s) == pytest.approx(float(std), rel=1e-5)


@pytest.mark.parametrize("sigma", ["posterior", "zero"])
def test_an_oracle_gives_the_target_back(path, images, sigma):
    x0, y, _ = images
    pairs = time_pairs(T, 7)

    def step(x, found, t, s, noise):
        return bridge_step(x, found, t, s, noise, y=y, bridge=path, sigma=sigma)

    result = sample(lambda x, t, i: x0, y, pairs, step, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(result, x0)


def test_without_noise_every_point_of_the_way_keeps_its_share_of_noise(path, images):
    """sigma = 0: with the true x0, x_t = a x0 + b y + std eps of one eps at every time."""
    x0, y, eps = images
    a, b, std = path.at(30)
    x = a * x0 + b * y + std * eps
    for t, s in ((30, 17), (17, 4)):
        x = bridge_step(x, x0, t, s, torch.zeros_like(x), y=y, bridge=path, sigma="zero")
        a, b, std = path.at(s)
        torch.testing.assert_close(x, a * x0 + b * y + std * eps)


def test_the_score_is_the_gradient_of_the_log_density(path, images):
    x0, y, noise = images
    x = noise.clone().requires_grad_()
    a, b, std = path.at(20)
    torch.distributions.Normal(a * x0 + b * y, std).log_prob(x).sum().backward()
    torch.testing.assert_close(score(x.detach(), x0, 20, y=y, bridge=path), x.grad)
    m, delta = b, std**2  # as printed, with the net's output x_t - x0 (eq. 6)
    torch.testing.assert_close(x.grad, -(m * (noise - y) + (1 - m) * (noise - x0)) / delta)
    with pytest.raises(ValueError, match="no noise"):
        score(noise, x0, T - 1, y=y, bridge=path)


# --- slices that agree (ISTA) ---


def drift(x, x0, t, s, noise):
    """A step that goes nowhere: what remains is the correction."""
    return x


@pytest.mark.parametrize("axis", [0, 2])
def test_a_correction_is_equation_5_in_every_slice(path, images, axis):
    x0, y, x = images
    t, size = 20, 0.05
    step = corrected(drift, lambda *_: x0, y=y, bridge=path, corrections=1, size=size, axis=axis)
    found = step(x, x0, t + 1, t, x)
    slope = score(x, x0, t, y=y, bridge=path)
    for k in range(x.shape[1 + axis]):
        s = slope.select(1 + axis, k)
        wanted = x.select(1 + axis, k) + size * kernel_variance(path, t, t - 1) * s.numel() / s.norm() ** 2 * s
        torch.testing.assert_close(found.select(1 + axis, k), wanted)


def test_corrections_raise_the_density_and_never_pass_its_maximum(path, images):
    x0, y, x = images
    mean = path.at(20)[0] * x0 + path.at(20)[1] * y
    for size in (0.05, 1e6):
        distance = [(x - mean).norm()]
        for corrections in (1, 2, 5):
            step = corrected(drift, lambda *_: x0, y=y, bridge=path, corrections=corrections, size=size)
            distance.append((step(x, x0, 21, 20, x) - mean).norm())
        assert all(b <= a + 1e-9 for a, b in zip(distance, distance[1:], strict=False))
    assert distance[-1] < 1e-9  # a step as long as it may be ends at the mean


def test_corrections_count_voxels_of_the_mask_alone(path, images):
    x0, y, x = images
    mask = torch.zeros(x.shape, dtype=torch.bool)
    mask[:, :3] = True
    mean = path.at(20)[0] * x0 + path.at(20)[1] * y
    x = torch.where(mask, x, mean)  # outside there is nothing to correct
    found = corrected(drift, lambda *_: x0, y=y, bridge=path, corrections=1, size=0.05, mask=mask)(x, x0, 21, 20, x)
    alone = corrected(drift, lambda *_: x0[:, :3], y=y[:, :3], bridge=path, corrections=1, size=0.05)
    torch.testing.assert_close(found[:, :3], alone(x[:, :3], x0, 21, 20, x))
    torch.testing.assert_close(found[:, 3:], mean[:, 3:])


class Biased(torch.nn.Module):
    """Predicts x_t of each slice plus 1, 2 and 3 for the first, the middle and the last of a slab."""

    def forward(self, slabs, times):
        return slabs[:, :3] + torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)


def test_co_prediction_averages_what_overlapping_slabs_say():
    x = random(1, 5, 4, 4).float()
    how = {"thickness": 3, "views": (0,), "divisor": 1, "half": False, "out_slices": 3, "convert": lambda x, o, t: o}
    both = [
        volume_denoiser(Biased(), x, bridge("brownian", T), **how, co_predict=on)(x, 3, 0) - x for on in (True, False)
    ]
    torch.testing.assert_close(both[0].mean((0, 2, 3)), torch.tensor([1.5, 2.0, 2.0, 2.0, 2.5]))  # ends: two slabs
    torch.testing.assert_close(both[1], torch.full_like(x, 2.0))


# --- training ---


def test_the_loss_is_the_error_of_x_t_less_the_target():
    volumes = [phantom_case(seed, shape=(32, 32, 32), spacing=6.0, style=1.0) for seed in (1, 2)]
    config = TrainConfig(
        net=NET,
        method="bridge",
        schedule="brownian",
        n_train=T,
        batch_size=4,
        window=16,
        views=(2,),
        options=(("prior", 1),),
    )
    batch = draw_batch(make_pool(volumes, config), config, 0)
    keys = torch.stack([style_key(histogram(v.target, v.mask, 16)) for v in volumes])
    assert batch.keys.shape == (4, 3, 16)
    for key in batch.keys:
        assert any(torch.equal(key, each) for each in keys)
    torch.testing.assert_close(prior_slabs(batch, config), batch.source[:, 3:])

    def perfect(slabs, times, style):
        assert torch.equal(style, batch.keys)
        return slabs[:, :3] - batch.target

    assert bridge_loss({"net": perfect}, batch, config) == 0
    off = bridge_loss({"net": lambda *a, **k: perfect(*a, **k) + 0.5}, batch, config)
    assert float(off) == pytest.approx(0.25)


# --- style keys ---


def test_the_key_of_a_known_image():
    image = torch.full((1, 2, 2, 2), -1.0)
    image[0, 0, 0] = torch.tensor([-0.6, 0.9])
    image[0, 0, 1] = 1.0  # the end of the range belongs to the last bin
    mask = torch.zeros_like(image, dtype=torch.bool)
    mask[0, 0] = True
    shares = histogram(image, mask, bins=4)
    torch.testing.assert_close(shares, torch.tensor([0.25, 0, 0, 0.75]))
    key = style_key(shares) / torch.tensor([SCALE, 1, SCALE**2]).view(3, 1)
    torch.testing.assert_close(key[1], torch.tensor([0.25, 0.25, 0.25, 1.0]))
    torch.testing.assert_close(key[2], torch.tensor([0, -0.25, 0, 0.75]))
    with pytest.raises(InputError, match="at least one voxel"):
        histogram(image, torch.zeros_like(mask))


def test_the_average_of_keys_is_the_key_of_the_average():
    a, b = (torch.softmax(random(16, seed=k), 0) for k in (0, 1))
    torch.testing.assert_close((style_key(a) + style_key(b)) / 2, style_key((a + b) / 2))


def test_the_nearest_histogram_is_that_of_least_shift():
    shares = torch.eye(8)[3]
    assert nearest(shares, torch.eye(8)[[0, 2, 7]]) == 1


def test_histograms_survive_a_card():
    shares = torch.softmax(2 * random(5, 128), 1).float()
    torch.testing.assert_close(unpack([pack(each) for each in shares]), shares, atol=3e-4, rtol=0)


def test_style_changes_the_target_alone():
    small = {"shape": (32, 32, 32), "spacing": 6.0}
    plain, styled, other = (phantom_case(seed, **small, style=style) for seed, style in ((3, 0), (3, 1), (4, 1)))
    assert torch.equal(plain.source, styled.source) and torch.equal(plain.mask, styled.mask)
    assert not torch.equal(plain.clean, styled.clean)
    assert {plain.subject, styled.subject, other.subject} == {"phantom-3", "phantom-3-styled", "phantom-4-styled"}


# --- the system ---


@pytest.fixture(scope="module")
def keyed(tmp_path_factory) -> tuple:
    """A subject, and an untrained model on disk with the styles of two others in its card."""
    small = {"shape": (32, 32, 32), "spacing": 6.0}
    others = [phantom_case(seed, **small, style=1.0) for seed in (11, 12)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(replace(NET, style_bins=128))
    for parameter in net.parameters():  # no zeros anywhere, so that the key reaches the output
        parameter.data += 0.02
    card = {
        "sources": ["T1w", "T2w"],
        "target": "FLAIR",
        "spacing_mm": 6.0,
        "schedule": "brownian",
        "n_train": T,
        "prediction": "x_t - x0",
        "options": {"prior": 1},
        "training": {},
        **style_histograms(others),
    }
    file = tmp_path_factory.mktemp("keyed") / "bridge.safetensors"
    save_model(net, file, config=replace(NET, style_bins=128), card=card)
    return phantom_case(13, **small, style=1.0), file, others


def test_sampling_is_deterministic_whatever_the_seed(keyed):
    volume, file, _ = keyed
    how = {"model": file, "n_steps": 3, "device": "cpu"}
    images = [translate(volume, "bbdm", seed=seed, **how).target for seed in (0, 0, 1)]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], images[2])
    drawn = [translate(volume, "bbdm", seed=seed, sigma="posterior", **how).target for seed in (0, 1)]
    assert not torch.equal(*drawn)


def test_a_style_reaches_the_image(keyed):
    volume, file, _ = keyed
    made = {
        style: translate(volume, "bbdm", model=file, n_steps=2, corrections=0, style=style, device="cpu").target
        for style in ("average", "exact", "foreign")
    }
    assert not torch.equal(made["average"], made["exact"]) and not torch.equal(made["average"], made["foreign"])


def test_styles_by_name(keyed):
    volume, file, others = keyed
    model: Model = load_model(file)
    kept = torch.stack([histogram(v.target, v.mask) for v in others])
    torch.testing.assert_close(style_histogram(volume, model), kept.mean(0), atol=3e-4, rtol=0)
    own = histogram(volume.target, volume.mask)
    torch.testing.assert_close(style_histogram(volume, model, "exact"), own)
    best = style_histogram(volume, model, "best")
    torch.testing.assert_close(best, kept[nearest(own, kept)], atol=3e-4, rtol=0)
    twin = style_histogram(others[1], model, "best")
    torch.testing.assert_close(twin, kept[1], atol=3e-4, rtol=0)


@pytest.mark.parametrize(("style", "message"), [("exact", "acquired target"), ("nonsense", "neither an image")])
def test_a_style_that_cannot_be_had_is_refused(keyed, style, message):
    volume, file, _ = keyed
    with pytest.raises(InputError, match=message):
        style_histogram(replace(volume, target=None), load_model(file), style)


# --- evidence ---


def test_a_change_of_style_leaves_no_residual_and_an_uneven_slice_does():
    truth = torch.rand((1, 6, 6, 8), generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8
    mask = torch.ones_like(truth, dtype=torch.bool)
    mask[:, 0] = False
    styled = 2 * ((truth + 1) / 2) ** 1.7 - 1
    assert float(residual(styled, truth, mask).abs().max()) < 1e-6
    uneven = styled.clone()
    uneven[..., ::2] += 0.1
    even, rest = (residual(image, truth, mask) for image in (styled, uneven))
    assert unevenness(even, mask) < 1e-6 < 0.015 < unevenness(rest, mask) < 0.03  # about half of 0.05
    assert list(slice_means(rest, mask).slice) == list(range(8))
    assert (rest[~mask] == 0).all()


def test_the_explorer_of_styles_has_an_image_for_every_choice():
    volume = phantom_case(3, shape=(32, 32, 32), spacing=6.0)
    images = {style: {way: volume.clean + k / 50 for way in ("alone", "ISTA")} for k, style in enumerate(("a", "b"))}
    explorer = explorers.styles(images, volume)
    assert [c["id"] for c in explorer.spec["controls"]][:2] == ["style", "sampling"]
    told = dict((r["label"], r["value"]) for r in explorer.spec["readouts"])
    psnr = told["PSNR to acquired (dB)"]["values"]
    assert float(psnr[0]["values"][0]) > float(psnr[1]["values"][1])
    assert len(explorer.frames) >= 3
    with pytest.raises(InputError, match="same ways"):
        explorers.styles({"a": {"x": volume.clean}, "b": {"y": volume.clean}}, volume)
