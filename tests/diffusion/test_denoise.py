"""volume_denoiser with nets whose output is known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yoda_nb.diffusion.denoise import volume_denoiser
from yoda_nb.diffusion.process import PREDICTIONS, add_noise, prediction_target
from yoda_nb.diffusion.schedules import schedule
from yoda_nb.diffusion.slabs import to_slabs
from yoda_nb.nets.base import Given
from yoda_nb.nets.monai_unet import MonaiUNetConfig

NOISE = schedule()
SHAPE = (6, 7, 9)
TINY = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3)


class Fake(nn.Module):
    """Calls ``function(slabs, times)`` and remembers what it was given."""

    def __init__(self, function):
        super().__init__()
        self.function, self.seen, self.times = function, [], []

    def forward(self, slabs, times):
        self.seen.append(slabs.clone())
        self.times.append(times.clone())
        return self.function(slabs, times)


def pick(channel: int) -> Fake:
    return Fake(lambda slabs, times: slabs[:, channel : channel + 1])


def volume(channels: int, seed: int = 0, shape=SHAPE) -> torch.Tensor:
    return torch.rand((channels, *shape), generator=torch.Generator().manual_seed(seed)) * 2 - 1


X, SOURCE = volume(1), volume(2, seed=1)


@pytest.mark.parametrize("i", range(7))
def test_views_follow_the_step_and_not_the_time(i):
    net = pick(2)
    volume_denoiser(net, SOURCE, NOISE, divisor=1)(X, 333, i)
    assert net.seen[0].shape[-2:] == [(7, 9), (6, 9), (6, 7)][i % 3]
    other = pick(2)
    volume_denoiser(other, SOURCE, NOISE, divisor=1, views=(2,))(X, 333, i)
    assert other.seen[0].shape[-2:] == (6, 7)


def test_channels_are_slices_of_x_then_of_each_source():
    net = pick(1)
    volume_denoiser(net, SOURCE, NOISE, thickness=3, divisor=1, half=False)(X, 5, 1)
    slabs = torch.cat(net.seen)
    assert torch.equal(slabs, torch.cat([to_slabs(v[None], 1, 3) for v in (X[0], *SOURCE)], 1))
    assert slabs.shape == (7, 9, 6, 9)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_net_that_copies_a_middle_slice_gives_back_that_image(axis, channel):
    """Slabs out, odd sides padded for the net and cut back, slices in: nothing moves."""
    net = pick(5 * channel + 2)
    denoise = volume_denoiser(net, SOURCE, NOISE, prediction="x0", half=False, divisor=8, batch_size=4)
    assert torch.equal(denoise(X, 10, axis), torch.cat([X, SOURCE])[channel : channel + 1])
    assert all(side % 8 == 0 for slabs in net.seen for side in slabs.shape[-2:])


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_what_the_net_predicts_becomes_x0(kind):
    """A net that knows the answer, whatever it is asked for."""
    truth, eps = volume(1, 2), volume(1, 3)
    for t in (0, 400, 999):
        x_t, wanted = (f(truth, eps, NOISE.at(t)) for f in (add_noise, lambda *a: prediction_target(*a, kind)))
        oracle = Fake(lambda slabs, times, wanted=wanted: to_slabs(wanted, 2, 1))
        denoise = volume_denoiser(oracle, SOURCE, NOISE, prediction=kind, half=False, divisor=1)
        assert torch.allclose(denoise(x_t, t, 2), truth, atol=1e-4 if kind != "eps" else 2e-3)


def test_background_is_minus_one_and_inputs_stay():
    mask = volume(1, 4) > 0
    x, source, kept = X.clone(), SOURCE.clone(), mask.clone()
    denoise = volume_denoiser(pick(2), source, NOISE, mask=mask)
    inside, outside = denoise(x, 500, 0)[mask], denoise(x, 500, 0)[~mask]
    assert (outside == -1).all() and not (inside == -1).any()
    assert torch.equal(x, X) and torch.equal(source, SOURCE) and torch.equal(mask, kept)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_without_mask_do_not_run_and_the_others_do_not_notice(axis):
    mask = torch.zeros((1, *SHAPE), dtype=torch.bool)
    mask[:, 2:5, 1:3, 4:6] = True
    net, full = pick(0), pick(0)
    some = volume_denoiser(net, SOURCE, NOISE, mask=mask, half=False, batch_size=2)(X, 500, axis)
    every = volume_denoiser(full, SOURCE, NOISE, half=False)(X, 500, axis)
    assert torch.equal(some, torch.where(mask, every, -1.0))
    assert [sum(map(len, n.seen)) for n in (net, full)] == [(3, 2, 2)[axis], SHAPE[axis]]


ROUND = sum(torch.meshgrid(*(torch.linspace(-1.1, 1.1, n).square() for n in (12, 14, 16)), indexing="ij"))[None] <= 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_margin_cuts_each_batch_to_its_mask_and_keeps_what_a_net_of_small_reach_sees(axis, batch_size):
    """Two 3x3 kernels reach two voxels: with a margin of two the image is the same, and less was run."""
    x, source = volume(1, 5, ROUND.shape[1:]), volume(2, 6, ROUND.shape[1:])
    kernel = torch.rand((9, 9, 3, 3), generator=torch.Generator().manual_seed(7)) - 0.5
    conv = lambda y, k: torch.nn.functional.conv2d(y, k, padding=1)  # noqa: E731
    close, whole = (Fake(lambda y, t: conv(conv(y, kernel), kernel[:1])) for _ in range(2))
    settings = {"mask": ROUND, "thickness": 3, "divisor": 1, "half": False, "batch_size": batch_size}
    one = volume_denoiser(close, source, NOISE, margin=2, **settings)(x, 300, axis)
    torch.testing.assert_close(one, volume_denoiser(whole, source, NOISE, **settings)(x, 300, axis))
    slices = ROUND.movedim(1 + axis, 1)[0]
    for batch, seen in zip(slices[slices.flatten(1).any(1)].split(batch_size), close.seen, strict=True):
        sides = [int(batch.any(0).any(1 - d).sum()) + 4 for d in (0, 1)]
        assert list(seen.shape[2:]) == [min(n, most) for n, most in zip(sides, slices.shape[1:], strict=True)]
    assert batch_size == 100 or sum(s.numel() for s in close.seen) < sum(s.numel() for s in whole.seen)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("co_predict", [True, False])
def test_a_margin_leaves_the_average_of_overlapping_answers(axis, co_predict):
    """Each slab answers its own slices, some of which hold more brain than the batch's middle ones."""
    x, source = volume(1, 5, ROUND.shape[1:]), volume(2, 6, ROUND.shape[1:])
    how = {"mask": ROUND, "thickness": 3, "divisor": 1, "half": False, "out_slices": 3, "co_predict": co_predict}
    net = Fake(lambda slabs, times: slabs[:, :3] + slabs[:, 3:4])
    whole, close = (volume_denoiser(net, source, NOISE, **how, batch_size=2, margin=m)(x, 9, axis) for m in (None, 0))
    torch.testing.assert_close(close, whole)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = TINY.build()
    with torch.no_grad():  # MONAI starts the last layer at zero: without this every output is 0
        net.out[-1].conv.weight.normal_(std=0.1)
    return net.eval()


@pytest.mark.parametrize("batch_size", [1, 4, 5, 100])
def test_batch_size_changes_nothing_but_rounding(net, batch_size):
    settings = {"thickness": 3, "divisor": TINY.divisor}
    one = volume_denoiser(net, SOURCE, NOISE, batch_size=32, half=False, **settings)(X, 600, 1)
    other = volume_denoiser(net, SOURCE, NOISE, batch_size=batch_size, half=False, **settings)(X, 600, 1)
    assert one.std() > 0.05
    assert torch.allclose(one, other, atol=1e-5)
    # half precision has 8 bits: the two agree within its rounding, and with float32 as well
    half = volume_denoiser(net, SOURCE, NOISE, batch_size=batch_size, half=True, **settings)(X, 600, 1)
    assert half.dtype == torch.float32
    assert (half - one).abs().max() < 0.05 and (half - one).square().mean().sqrt() < 0.01


def test_twice_is_the_same_and_no_gradient_is_kept(net):
    denoise = volume_denoiser(net, SOURCE, NOISE, thickness=3, divisor=2)
    first = denoise(X, 600, 0)
    assert torch.equal(first, denoise(X, 600, 3)) and not first.requires_grad


# --- what nets of other papers are told and answer


def test_a_net_is_told_the_time_or_something_else():
    net, other = pick(0), pick(0)
    volume_denoiser(net, SOURCE, NOISE, divisor=1, batch_size=4)(X, 123, 0)
    assert torch.cat(net.times).tolist() == [123] * 6
    volume_denoiser(other, SOURCE, NOISE, divisor=1, net_time=NOISE.log_snr)(X, 123, 0)
    assert torch.allclose(torch.cat(other.times), torch.tensor(NOISE.log_snr(123)).float())


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_overlapping_answers_are_averaged_or_the_middle_counts(axis):
    """A net that answers each slice with its place in the slab: 0, 1, 2."""
    net = Fake(lambda slabs, times: torch.arange(3.0).view(1, 3, 1, 1).expand(len(slabs), 3, *slabs.shape[2:]))
    settings = {"thickness": 3, "divisor": 1, "half": False, "prediction": "x0", "out_slices": 3, "batch_size": 2}
    alone = volume_denoiser(net, SOURCE, NOISE, co_predict=False, **settings)(X, 10, axis)
    assert torch.equal(alone, torch.ones_like(X))
    slices = volume_denoiser(net, SOURCE, NOISE, **settings)(X, 10, axis).movedim(1 + axis, 0).flatten(1)
    assert torch.equal(slices[1:-1], torch.ones_like(slices[1:-1]))
    assert (slices[0] == 0.5).all() and (slices[-1] == 1.5).all()  # the ends lack a neighbour


def test_what_stays_the_same_is_given_with_every_batch():
    class Styled(nn.Module):
        def forward(self, slabs, times, style):
            assert style.shape == (len(slabs), 3, 4)
            return style[:, 1, 2].view(-1, 1, 1, 1).expand(-1, 1, *slabs.shape[2:])

    style = torch.arange(12.0).view(1, 3, 4) / 20
    denoise = volume_denoiser(
        Given(Styled(), style=style), SOURCE, NOISE, prediction="x0", divisor=1, batch_size=4, half=False
    )
    assert torch.equal(denoise(X, 3, 0), torch.full_like(X, float(style[0, 1, 2])))


def test_an_answer_needs_a_schedule_or_a_rule():
    with pytest.raises(ValueError, match="without a noise schedule .* a convert of its own"):
        volume_denoiser(pick(0), SOURCE, None)
    convert = lambda x, output, t: x - output + t  # noqa: E731
    x0 = volume_denoiser(pick(2), SOURCE, None, divisor=1, half=False, convert=convert)(X, 9, 1)
    assert torch.equal(x0, torch.full_like(X, 9.0)), "x_t less its own middle slices, and the time"
