"""What a step of training sees: slabs of random places, a function of seed and step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from small_loop import TINY, VOLUMES, subject

from yoda_nb.training.batches import make_pool
from yoda_nb.training.draws import draw_batch


def test_a_batch_is_a_function_of_seed_step_and_stream():
    pool = make_pool(VOLUMES, TINY)
    draw = [
        draw_batch(pool, replace(TINY, seed=s), i, r)
        for s, i, r in ((0, 5, 0), (0, 5, 0), (1, 5, 0), (0, 6, 0), (0, 5, 1))
    ]
    assert all(torch.equal(a, b) for a, b in zip(vars(draw[0]).values(), vars(draw[1]).values(), strict=True))
    for other in draw[2:]:
        assert not torch.equal(draw[0].eps, other.eps)
        assert not torch.equal(draw[0].source, other.source)


def test_voxels_of_lesions_count_more_where_they_are_known():
    sick = torch.zeros_like(VOLUMES[0].mask)
    sick[:, 6:10, 5:9, 5:8] = True
    volumes = [replace(VOLUMES[0], lesions=sick), VOLUMES[1]]
    config = replace(TINY, batch_size=24, lesions=4.0)
    plain, more = (draw_batch(make_pool(volumes, c), c, 0) for c in (replace(config, lesions=0.0), config))
    assert torch.equal(plain.source, more.source), "what is drawn does not depend on it"
    ratio = (more.weight - plain.weight)[plain.weight == 1]
    assert set(ratio.tolist()) == {0.0, 4.0} and (more.weight == plain.weight)[plain.weight < 1].all()
    in_box = draw_batch(make_pool(volumes[1:], config), config, 0)
    assert in_box.weight.max() == 1, "no lesions are known"


def test_shapes_and_ranges():
    batch = draw_batch(make_pool(VOLUMES, TINY), TINY, 0)
    assert batch.target.shape == batch.eps.shape == (3, 3, 8, 8)
    assert batch.source.shape == (3, 6, 8, 8) and batch.weight.shape == (3, 1, 8, 8)
    assert batch.target.dtype == batch.source.dtype == torch.float32
    assert batch.source.abs().max() <= 1 and set(batch.weight.unique().tolist()) <= {1.0, np.float32(0.01)}
    assert batch.times.shape == (3,) and batch.times.min() >= 0 and batch.times.max() < 1000


def test_batches_stay_in_the_region_of_interest_and_cover_it():
    """The volume holds its own coordinates, so a batch tells where it was cut."""
    shape = (16, 14, 12)
    where = torch.stack(torch.meshgrid(*(torch.arange(n) / 16.0 for n in shape), indexing="ij"))
    v = replace(subject(), source=where[1:], target=where[:1])
    config = replace(TINY, augment=0.0, window=4, batch_size=64)
    (item,) = pool = make_pool([v], config)
    assert item.box == (slice(2, 15), slice(2, 12), slice(2, 11))  # the mask grown by 2, 1, 1 voxels
    seen = [set(), set(), set()]
    for step in range(12):
        b = draw_batch(pool, config, step)
        middles = torch.cat([b.target[:, 1:2], b.source[:, 1:2], b.source[:, 4:5]], 1) * 16  # (N,3,A,B)
        for axis in range(3):
            seen[axis] |= set(middles[:, axis].flatten().round().int().tolist())
    assert seen == [set(range(s.start, s.stop)) for s in item.box]


def test_neighbours_and_mirrors_keep_target_sources_and_mask_together():
    v = subject()
    v = replace(v, source=v.target.repeat(2, 1, 1, 1))
    config = replace(TINY, augment=0.0, batch_size=32)
    batch = draw_batch(make_pool([v], config), config, 0)
    assert torch.allclose(batch.source, batch.target.repeat(1, 2, 1, 1), atol=1e-6)
    assert torch.equal(batch.weight == 1, batch.target[:, 1:2] != -1)


def test_mirror_images_can_be_left_out_and_nothing_else_changes():
    v = replace(subject(), target=(torch.arange(16) / 16.0).view(1, 16, 1, 1).expand(1, 16, 14, 12))
    as_it_is, never = (
        draw_batch(make_pool([v], config), config, 0)
        for config in (replace(TINY, views=(1, 2), batch_size=32, flip=flip) for flip in (True, False))
    )
    to_the_right = [(batch.target[:, 1].diff(dim=1) > 0).all((1, 2)) for batch in (as_it_is, never)]
    assert 0 < to_the_right[0].sum() < 32 and to_the_right[1].all()
    kept = to_the_right[0]
    assert torch.equal(as_it_is.target[kept], never.target[kept]) and torch.equal(as_it_is.eps, never.eps)
    assert torch.equal(as_it_is.target[~kept].flip(-2), never.target[~kept])
    assert "flip" not in TINY.document(), "runs that were begun before there was a choice go on"
    assert replace(TINY, flip=False).document()["flip"] is False


def test_views_can_be_restricted():
    v = replace(subject(), target=(torch.arange(12) / 12.0).expand(1, 16, 14, 12))
    config = replace(TINY, views=(2,), batch_size=32)
    batch = draw_batch(make_pool([v], config), config, 0)
    assert (batch.target[:, 1].flatten(1).std(1) == 0).all()  # one slice holds one value


def test_a_volume_smaller_than_the_window_is_padded_with_background():
    config = replace(TINY, window=32)
    (item,) = make_pool([subject()], config)
    assert item.images.shape == (3, 32, 32, 32) and item.mask.sum() == subject().mask.sum()
    assert item.images[:, :8].eq(-1).all()
    assert draw_batch([item], config, 0).target.shape == (3, 3, 32, 32)


def test_volumes_are_drawn_as_often_as_their_weights_say():
    """Each volume's target is a constant of its own, so a batch tells who was drawn."""
    marked = [
        replace(v, target=torch.where(v.mask, value, -1.0)) for v, value in zip(VOLUMES, (0.25, 0.75), strict=True)
    ]
    config = replace(TINY, batch_size=64)
    pool = make_pool(marked, config, [3.0, 1.0])
    drawn = torch.cat([draw_batch(pool, config, step).target.amax((1, 2, 3)) for step in range(20)])
    share = float((drawn == 0.25).sum() / ((drawn == 0.25) | (drawn == 0.75)).sum())
    assert abs(share - 0.75) < 0.05


def test_equal_weights_draw_what_none_draw():
    same = [draw_batch(make_pool(VOLUMES, TINY, weights), TINY, 0).target for weights in ((), [1.0, 1.0], [2.0, 2.0])]
    assert torch.equal(same[0], same[1]) and torch.equal(same[0], same[2])
