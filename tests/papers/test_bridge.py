"""Slice-consistent Brownian bridges: slices that agree, the loss, style keys in the system (SKC-ISTA)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from seeded import normal
from small_models import CARD

from yoda_nb.diffusion.bridges import kernel_variance, score
from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.errors import InputError
from yoda_nb.images.styles import histogram, nearest, style_key
from yoda_nb.nets.models import Model, save_model
from yoda_nb.nets.unet import UNetConfig
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.systems.models import load_model
from yoda_nb.systems.run import translate
from yoda_nb.training.batches import TrainConfig, make_pool
from yoda_nb.training.draws import draw_batch
from yoda_papers.bridge import style_histograms
from yoda_papers.bridge.ista import corrected
from yoda_papers.bridge.method import BRIDGE, bridge_loss, prior_slabs
from yoda_papers.bridge.path import brownian
from yoda_papers.bridge.process import style_histogram

T = 40


NET = UNetConfig(channels=(8, 8), attention=(False, False), embedding=16, thickness=3, out_slices=3, style_bins=16)


@pytest.fixture
def path():
    return brownian(T)


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((1, 6, 5, 4), generator=generator, dtype=torch.float64) for _ in range(3)]


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
    x = normal(1, 5, 4, 4).float()
    how = {"thickness": 3, "views": (0,), "divisor": 1, "half": False, "out_slices": 3, "convert": lambda x, o, t: o}
    both = [volume_denoiser(Biased(), x, None, **how, co_predict=on)(x, 3, 0) - x for on in (True, False)]
    torch.testing.assert_close(both[0].mean((0, 2, 3)), torch.tensor([1.5, 2.0, 2.0, 2.0, 2.5]))  # ends: two slabs
    torch.testing.assert_close(both[1], torch.full_like(x, 2.0))


@pytest.mark.parametrize("ends", ["open", "closed"])
def test_the_loss_is_the_error_of_x_t_less_the_target(ends):
    volumes = [phantom_case(seed, shape=(32, 32, 32), spacing=6.0, style=1.0) for seed in (1, 2)]
    config = TrainConfig(
        net=NET,
        method=BRIDGE,
        schedule="brownian",
        n_train=T,
        batch_size=4,
        window=16,
        views=(2,),
        options=(("prior", 1), ("ends", ends)),
    )
    path = brownian(T, ends=ends)
    batch = draw_batch(make_pool(volumes, config), config, 0)
    keys = torch.stack([style_key(histogram(v.target, v.mask, 16)) for v in volumes])
    assert batch.keys.shape == (4, 3, 16)
    for key in batch.keys:
        assert any(torch.equal(key, each) for each in keys)
    torch.testing.assert_close(prior_slabs(batch, config), batch.source[:, 3:])

    def perfect(slabs, times, style):
        assert torch.equal(style, batch.keys)
        a, b, std = (values[times].view(-1, 1, 1, 1).float() for values in (path.a, path.b, path.std))
        torch.testing.assert_close(slabs[:, :3], a * batch.target + b * batch.source[:, 3:] + std * batch.eps)
        return slabs[:, :3] - batch.target

    assert bridge_loss({"net": perfect}, batch, config) == 0
    off = bridge_loss({"net": lambda *a, **k: perfect(*a, **k) + 0.5}, batch, config)
    assert float(off) == pytest.approx(0.25)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory) -> tuple:
    """A subject, and an untrained model on disk with the styles of two others in its card."""
    small = {"shape": (32, 32, 32), "spacing": 6.0}
    others = [phantom_case(seed, **small, style=1.0) for seed in (11, 12)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = replace(NET, style_bins=128).build()
    for parameter in net.parameters():  # no zeros anywhere, so that the key reaches the output
        parameter.data += 0.02
    about = {"schedule": "brownian", "n_train": T, "prediction": "x_t - x0", "options": {"prior": 1, "ends": "open"}}
    card = CARD | {"spacing_mm": 6.0} | about | style_histograms(others)
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


def test_path_and_step_are_the_models_or_ones_own(keyed):
    """An open path and the posterior's mean, as the authors have them, unless another is named."""
    volume, file, _ = keyed

    def made(**changes):
        return translate(volume, "bbdm", model=file, n_steps=3, corrections=0, device="cpu", **changes).target

    assert torch.equal(made(), made(sigma="mean", ends="open"))
    assert not torch.equal(made(), made(ends="closed")) and not torch.equal(made(), made(sigma="zero"))


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
