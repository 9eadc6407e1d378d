"""Nets behind the Fréchet distance: published layouts, hostile files, the shipped weights."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from seeded import rng
from torch import nn

from yoda_nb.errors import InputError
from yoda_nb.metrics.feature_nets import OFFLINE_WEIGHTS, read_weights, resnet50, vit_b16
from yoda_nb.metrics.features import load_extractor


def random_resnet(blocks=(2, 1, 1, 1), width: int = 4, bias: bool = False) -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names, written down from the architecture."""
    g, state = rng(7), {}

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
    state, x = random_resnet(bias=layout == "keras"), torch.rand(2, 3, 64, 64, generator=rng())
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

    def rand(*shape: int, g: torch.Generator = rng(8)) -> torch.Tensor:  # noqa: B008
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
    state, x = random_vit(), torch.rand(2, 3, 32, 32, generator=rng())
    features = vit_b16(names(state), width=12, depth=2, heads=3, size=32)(x)[0]
    torch.testing.assert_close(features, plain_vit(state, x), rtol=1e-4, atol=1e-4)


def test_keys_that_do_not_fit_are_listed(tmp_path):
    state = random_resnet()
    state["extra.weight"] = state.pop("layer2.0.conv2.weight")
    state["bn1.weight"] = torch.zeros(9)
    with pytest.raises(InputError) as error:
        resnet50(state, width=4, blocks=(2, 1, 1, 1))
    for part in ("missing: layer2.0.conv2.weight", "extra: extra.weight", "another shape: bn1.weight"):
        assert part in str(error.value)
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("radimagenet-resnet50", "imagenet-vit-b16"):
        with pytest.raises(InputError, match="does not fit its net"):
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
    with pytest.raises(InputError, match="does not match the checksum in its card"):
        load_extractor(weights=copy)
