from __future__ import annotations

import json
import pickle
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from yoda_nb.data.phantom import phantom_case
from yoda_nb.errors import InputError
from yoda_nb.metrics.feature_nets import OFFLINE_WEIGHTS, offline_net, read_weights, resnet50, vit_b16
from yoda_nb.metrics.feature_training import acquire, blur, ladder, phantoms, train_extractor, write_extractor
from yoda_nb.metrics.features import (
    frechet_distance,
    kernel_distance,
    load_extractor,
    perceptual_report,
    slices_for_features,
)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- distances ------------------------------------------------------------------------------


def with_moments(x: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """``x`` moved so that its sample mean and covariance are exactly the given ones."""
    x = x - x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(cov).T + mean


def test_frechet_distance_of_two_gaussians_in_closed_form():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 500, 3))
    variances = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0])
    a = with_moments(x, np.zeros(3), np.diag(variances[0]))
    b = with_moments(y, np.array([1.0, 2.0, 0.0]), np.diag(variances[1]))
    closed = 5 + ((np.sqrt(variances[0]) - np.sqrt(variances[1])) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(closed, rel=1e-9)
    # In two dimensions tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)): covariances that do not commute.
    p, q = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    a, b = (with_moments(z[:, :2], np.zeros(2), c) for z, c in ((x, p), (y, q)))
    root = np.sqrt(np.trace(p @ q) + 2 * np.sqrt(np.linalg.det(p @ q)))
    assert frechet_distance(a, b) == pytest.approx(np.trace(p) + np.trace(q) - 2 * root, rel=1e-9)


def test_frechet_distance_is_symmetric_zero_on_itself_and_holds_when_singular():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(10, 40)), rng.normal(size=(12, 40)) + 1  # fewer samples than features
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(a, a + 2) == pytest.approx(160, rel=1e-6)
    assert frechet_distance(a[:, :1], a[:, :1] + 3) == pytest.approx(9)


def test_kernel_distance_matches_the_definition_and_is_unbiased():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(7, 4)), rng.normal(size=(9, 4)) + 0.5

    def k(x, y):
        return (x @ y / 4 + 1) ** 3

    aa = np.mean([k(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    bb = np.mean([k(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    ab = np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(aa + bb - 2 * ab)
    same = [kernel_distance(*rng.normal(size=(2, 20, 8))) for _ in range(400)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 20
    biased = np.mean([frechet_distance(*rng.normal(size=(2, 20, 8))) for _ in range(50)])
    assert biased > 1  # what the floor is for


def test_distances_refuse_nan_and_mismatch():
    a = np.random.default_rng(3).normal(size=(8, 3))
    bad = a.copy()
    bad[0, 0] = np.nan
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(InputError, match="NaN"):
            distance(bad, a)
        with pytest.raises(InputError, match="one extractor"):
            distance(a, a[:, :2])
        with pytest.raises(InputError, match="N >= 2"):
            distance(a[:1], a)


def flat(images: torch.Tensor) -> torch.Tensor:
    return F.adaptive_avg_pool2d(images, 2).flatten(1)


def test_perceptual_report():
    real, fake = (torch.rand(40, 1, 8, 8, generator=gen(1)), torch.rand(30, 1, 8, 8, generator=gen(2)))
    report = perceptual_report(real, fake, flat, generator=gen())
    assert report == perceptual_report(real, fake, flat, generator=gen())
    assert report["fd"] == frechet_distance(flat(real), flat(fake))
    assert report["kd"] == kernel_distance(flat(real), flat(fake))
    assert {k: report[k] for k in ("n", "n_real", "n_fake", "d")} == {"n": 30, "n_real": 40, "n_fake": 30, "d": 4}
    assert 0 < report["floor"] < perceptual_report(real, 0.5 * fake, flat, generator=gen())["fd"]
    with pytest.warns(UserWarning, match="n = 3 slices in d = 4"):
        perceptual_report(real, fake[:3], flat, generator=gen())
    with pytest.raises(InputError, match="synthetic features hold NaN"):
        perceptual_report(real, fake * float("nan"), flat, generator=gen())
    with pytest.raises(InputError, match="halves"):
        perceptual_report(real[:3], fake, flat, generator=gen())


def test_slices_stand_upright_hold_the_brain_only_and_follow_the_mask():
    volume, mask = torch.full((1, 6, 8, 5), 0.2), torch.zeros(1, 6, 8, 5, dtype=torch.bool)
    mask[:, 1:5, 1:7, 1:4] = True
    mask[:, 2, 2, 4] = True  # one voxel of brain is not a slice
    volume[0, 4, 6, 1] = 3.0  # right, anterior
    slices = slices_for_features(volume, mask)
    assert slices.shape == (3, 1, 8, 6) and slices.max() == 1
    assert slices[0, 0, 1, 1] == 1  # towards the top, on the left
    assert float((slices > 0).sum()) == 4 * 6 * 3
    assert len(slices_for_features(volume, mask, min_fraction=0.0)) == 5
    with pytest.raises(InputError, match="mask is empty"):
        slices_for_features(volume, torch.zeros_like(mask))
    with pytest.raises(InputError, match="must share"):
        slices_for_features(volume, mask[..., 1:])


# --- weights of known nets ------------------------------------------------------------------


def random_resnet(blocks=(2, 1, 1, 1), width: int = 4, bias: bool = False) -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names, written down from the architecture."""
    g, state = gen(7), {}

    def conv(name: str, cin: int, cout: int, k: int) -> None:
        state[f"{name}.weight"] = torch.randn(cout, cin, k, k, generator=g) / (cin * k * k) ** 0.5
        if bias:
            state[f"{name}.bias"] = torch.randn(cout, generator=g)

    def norm(name: str, c: int) -> None:
        for key in ("weight", "bias", "running_mean"):
            state[f"{name}.{key}"] = torch.randn(c, generator=g)
        state[f"{name}.running_var"] = 0.5 + torch.rand(c, generator=g)
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    conv("conv1", 3, width, 7), norm("bn1", width)
    cin = width
    for i, count in enumerate(blocks):
        planes = width * 2**i
        for j in range(count):
            p = f"layer{i + 1}.{j}"
            for c, (a, b, k) in enumerate([(cin, planes, 1), (planes, planes, 3), (planes, 4 * planes, 1)], 1):
                conv(f"{p}.conv{c}", a, b, k), norm(f"{p}.bn{c}", b)
            if j == 0:
                conv(f"{p}.downsample.0", cin, 4 * planes, 1), norm(f"{p}.downsample.1", 4 * planes)
            cin = 4 * planes
    return state


def plain_resnet(s: dict, x: torch.Tensor, blocks=(2, 1, 1, 1), keras: bool = False) -> torch.Tensor:
    """ResNet written as functions of its state dict, the reference to compare with."""

    def unit(x, conv, norm, stride=1):
        w = s[f"{conv}.weight"]
        x = F.conv2d(x, w, s.get(f"{conv}.bias"), stride=stride, padding=w.shape[-1] // 2)
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(s[f"{norm}.{k}"] for k in keys), eps=1.001e-5 if keras else 1e-5)

    x = F.max_pool2d(unit(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for i, count in enumerate(blocks):
        for j in range(count):
            p, stride = f"layer{i + 1}.{j}", 2 if i > 0 and j == 0 else 1
            first, second = (stride, 1) if keras else (1, stride)
            y = unit(x, f"{p}.conv1", f"{p}.bn1", first).relu()
            y = unit(unit(y, f"{p}.conv2", f"{p}.bn2", second).relu(), f"{p}.conv3", f"{p}.bn3")
            x = (y + (unit(x, f"{p}.downsample.0", f"{p}.downsample.1", stride) if j == 0 else x)).relu()
    return x.mean(dim=(2, 3))


def as_radimagenet(state: dict) -> dict:
    order = ("conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4")
    parts = ((*key.split(".", 1), value) for key, value in state.items())
    return {f"backbone.{order.index(stage)}.{rest}": value for stage, rest, value in parts}


@pytest.mark.parametrize("layout", ["torchvision", "radimagenet", "keras"])
def test_resnet_gives_the_same_features_from_each_published_layout(layout):
    state, x = random_resnet(bias=layout == "keras"), torch.rand(2, 3, 64, 64, generator=gen())
    expected = plain_resnet(state, x, keras=layout == "keras")
    given = state | {"fc.weight": torch.zeros(5, 128), "fc.bias": torch.zeros(5)}
    if layout == "radimagenet":
        given = as_radimagenet(state)
    features = resnet50(given, width=4, blocks=(2, 1, 1, 1))(x)
    assert features.shape == (2, 128)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)


# PyTorch's encoder layer -> torchvision's ViT
LAYER_NAMES = {
    "self_attn.": "self_attention.",
    "linear1.": "mlp.0.",
    "linear2.": "mlp.3.",
    "norm1.": "ln_1.",
    "norm2.": "ln_2.",
}


def encoder_layer(width: int) -> nn.TransformerEncoderLayer:
    options = {"activation": "gelu", "layer_norm_eps": 1e-6, "batch_first": True}
    return nn.TransformerEncoderLayer(width, 3, 4 * width, dropout=0, norm_first=True, **options)


def random_vit(width: int = 12, depth: int = 2, size: int = 32) -> dict[str, torch.Tensor]:
    """A state dict with the key names of torchvision's vit_b_16, in a small width."""

    def rand(*shape: int, g: torch.Generator = gen(8)) -> torch.Tensor:  # noqa: B008
        return torch.randn(shape, generator=g) / 3

    state = {
        "class_token": rand(1, 1, width),
        "encoder.pos_embedding": rand(1, (size // 16) ** 2 + 1, width),
        "conv_proj.weight": rand(width, 3, 16, 16) / 5,
        "conv_proj.bias": rand(width),
        "encoder.ln.weight": rand(width),
        "encoder.ln.bias": rand(width),
        "heads.head.weight": rand(5, width),
        "heads.head.bias": rand(5),
    }
    for i in range(depth):
        for key, value in encoder_layer(width).state_dict().items():
            part = next(name for name in LAYER_NAMES if key.startswith(name))
            name = LAYER_NAMES[part] + key.removeprefix(part)
            state[f"encoder.layers.encoder_layer_{i}.{name}"] = rand(*value.shape)
    return state


def plain_vit(s: dict, x: torch.Tensor, width: int = 12, depth: int = 2) -> torch.Tensor:
    """ViT from PyTorch's own encoder layers, the reference to compare with."""
    tokens = F.conv2d(x, s["conv_proj.weight"], s["conv_proj.bias"], stride=16)
    tokens = tokens.flatten(2).transpose(1, 2)
    tokens = torch.cat([s["class_token"].expand(len(x), -1, -1), tokens], 1)
    tokens = tokens + s["encoder.pos_embedding"]
    for i in range(depth):
        layer, own = encoder_layer(width), {}
        for key in layer.state_dict():
            part = next(name for name in LAYER_NAMES if key.startswith(name))
            name = LAYER_NAMES[part] + key.removeprefix(part)
            own[key] = s[f"encoder.layers.encoder_layer_{i}.{name}"]
        layer.load_state_dict(own)
        tokens = layer(tokens)
    return F.layer_norm(tokens, (width,), s["encoder.ln.weight"], s["encoder.ln.bias"], 1e-6)[:, 0]


def as_timm(state: dict) -> dict:
    pairs = [
        ("encoder.layers.encoder_layer_", "blocks."),
        ("self_attention.in_proj_", "attn.qkv."),
        ("self_attention.out_proj", "attn.proj"),
        ("mlp.0", "mlp.fc1"),
        ("mlp.3", "mlp.fc2"),
        ("ln_", "norm"),
        ("encoder.pos_embedding", "pos_embed"),
        ("class_token", "cls_token"),
        ("conv_proj", "patch_embed.proj"),
        ("encoder.ln", "norm"),
        ("heads.head", "head"),
    ]
    renamed = {}
    for key, value in state.items():
        for old, new in pairs:
            key = key.replace(old, new)
        renamed[key] = value
    return renamed


@pytest.mark.parametrize("names", [dict, as_timm])
def test_vit_gives_the_same_features_from_each_published_layout(names):
    state, x = random_vit(), torch.rand(2, 3, 32, 32, generator=gen())
    features = vit_b16(names(state), width=12, depth=2, heads=3, size=32)(x)[0]
    torch.testing.assert_close(features, plain_vit(state, x), rtol=1e-4, atol=1e-4)


def test_keys_that_do_not_fit_are_listed(tmp_path):
    state = random_resnet()
    state["extra.weight"] = state.pop("layer2.0.conv2.weight")
    state["bn1.weight"] = torch.zeros(9)
    with pytest.raises(InputError) as error:
        resnet50(state, width=4, blocks=(2, 1, 1, 1))
    for part in ("missing: layer2.0.conv2.weight", "unexpected: extra.weight", "another shape: bn1.weight"):
        assert part in str(error.value)
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("radimagenet-resnet50", "imagenet-vit-b16"):
        with pytest.raises(InputError, match="do not fit"):
            load_extractor(name, weights=tmp_path / "other.safetensors")


def test_full_size_radimagenet_file_loads_by_name(tmp_path):
    state = random_resnet(blocks=(3, 4, 6, 3), width=64)
    named = {k: v.half() for k, v in as_radimagenet(state).items()}
    torch.save(named, tmp_path / "ResNet50.pt")
    features = load_extractor("radimagenet-resnet50", weights=tmp_path / "ResNet50.pt")(torch.rand(1, 1, 30, 40))
    assert features.shape == (1, 2048) and features.isfinite().all()


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_hostile_weights_are_refused_and_nothing_is_executed(tmp_path):
    good = tmp_path / "good.safetensors"
    save_file({"a": torch.zeros(100)}, good)
    cases = {
        "empty.safetensors": b"",
        "cut.safetensors": good.read_bytes()[:-50],
        "header.safetensors": b"\xff" * 64,
        "text.pt": b"not a net",
        "bomb.pt": pickle.dumps(Bomb(), 2),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    torch.save({"a": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(InputError, match="cannot be read as weights"):
        read_weights(tmp_path / "bomb.pth")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match="no state dict"):
        read_weights(tmp_path / "list.pt")
    with pytest.raises(InputError, match="no weights file"):
        read_weights(tmp_path)


def test_extractors_say_what_they_need():
    with pytest.raises(InputError, match="choose offline, radimagenet-resnet50 or imagenet-vit-b16"):
        load_extractor("inception")
    for name, place in (("radimagenet-resnet50", "github.com"), ("imagenet-vit-b16", "pytorch.org")):
        with pytest.raises(InputError, match=f"{place}.*pass weights=PATH"):
            load_extractor(name)
    with pytest.raises(InputError, match="needs \\(N, 1, H, W\\)"):
        load_extractor()(torch.rand(3, 8, 8))


# --- the shipped extractor ------------------------------------------------------------------


def test_shipped_file_is_small_and_refused_when_changed(tmp_path):
    card = json.loads(OFFLINE_WEIGHTS.with_suffix(".json").read_text())
    assert OFFLINE_WEIGHTS.stat().st_size == card["bytes"] < 500_000 and card["net"]["features"] <= 64
    assert {"training_data", "seed", "steps", "seconds", "machine", "metrics", "licence", "intended_use"} <= card.keys()
    data = bytearray(OFFLINE_WEIGHTS.read_bytes())
    copy = tmp_path / "features.safetensors"
    copy.write_bytes(data)
    with pytest.raises(InputError, match="card"):
        load_extractor(weights=copy)
    copy.with_suffix(".json").write_text(json.dumps(card))
    assert load_extractor(weights=copy)(torch.rand(2, 1, 20, 30)).shape == (2, card["net"]["features"])
    data[-1] ^= 1
    copy.write_bytes(data)
    with pytest.raises(InputError, match="not the file"):
        load_extractor(weights=copy)


def test_shipped_extractor_is_quick_and_the_same_in_any_batch():
    extract, images = load_extractor(), torch.rand(200, 1, 64, 64, generator=gen())
    extract(images[:8])
    start = time.process_time()
    features = extract(images)
    assert time.process_time() - start < 3  # under a second on an idle core
    torch.testing.assert_close(features[:5], extract(images[:5]), rtol=1e-4, atol=1e-5)


def test_distance_grows_with_missing_noise_and_with_blur():
    volumes = [phantom_case(900 + i, sigma=0.0) for i in range(6)]
    rungs = ladder(load_extractor(), volumes, seed=0)
    for kind in ("noise", "blur", "smoothing"):
        steps = [rungs["acquired"], *(v for k, v in rungs.items() if k.startswith(kind))]
        assert steps == sorted(steps), (kind, steps)
    assert rungs["noise 0.000"] > 2 * rungs["acquired"] and rungs["blur 2.0"] > 4 * rungs["acquired"]


def test_distance_on_phantoms_as_acquired():
    a, b = ([phantom_case(s + i) for i in range(3)] for s in (910, 920))
    half = [phantom_case(920 + i, sigma=0.02) for i in range(3)]

    def features(volumes, which="target"):
        images = [slices_for_features((getattr(v, which) + 1) / 2, v.mask) for v in volumes]
        return load_extractor()(torch.cat(images))

    acquired = features(a)
    distances = [frechet_distance(acquired, x) for x in (features(b), features(half), features(b, "clean"))]
    assert distances == sorted(distances), distances


# --- its training ---------------------------------------------------------------------------


def test_blur_has_its_width_and_zero_is_the_identity():
    image = torch.zeros(3, 1, 31, 31)
    image[:, 0, 15, 15] = 1
    widths = torch.tensor([0.0, 1.0, 1.5])
    blurred = blur(image, widths)
    torch.testing.assert_close(blurred[0], image[0])
    torch.testing.assert_close(blurred.sum(dim=(1, 2, 3)), torch.ones(3))
    along = (blurred[:, 0].sum(1) * (torch.arange(31) - 15) ** 2).sum(1)
    torch.testing.assert_close(along, widths**2, rtol=0.01, atol=1e-6)


def test_acquire_adds_the_stated_noise_inside_the_brain_only():
    clean = torch.zeros(2, 1, 64, 64)
    clean[:, :, 8:56, 8:56] = 0.6
    out = acquire(clean, torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.05, 0.0]]), generator=gen())
    torch.testing.assert_close(out[0], clean[0])
    assert float(out[1][clean[1] > 0].std()) == pytest.approx(0.05, rel=0.05) and out[1, 0, 0, 0] == 0


def test_training_is_seeded_and_writes_a_pair_that_loads(tmp_path):
    volumes = phantoms(1, seed=950)
    net, again, other = (train_extractor(volumes, steps=1, seed=s) for s in (0, 0, 1))
    weights = [n[0].weight for n in (net, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    path = tmp_path / "new" / "net.safetensors"
    write_extractor(net, path, {"net": {"width": 16, "features": 32}})
    assert sorted(p.name for p in path.parent.iterdir()) == ["net.json", "net.safetensors"]
    x = torch.rand(4, 1, 32, 32, generator=gen())
    stored = net.half().float()  # what fp16 keeps
    torch.testing.assert_close(load_extractor(weights=path)(x), stored(x))
    with pytest.raises(InputError, match="sigma=0"):
        train_extractor([phantom_case(1)], steps=1, seed=0)


def test_offline_net_takes_any_slice_from_8_voxels():
    assert offline_net(4, 5)(torch.rand(2, 1, 8, 33)).shape == (2, 5)
