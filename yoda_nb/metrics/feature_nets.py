"""The nets behind the Fréchet distance, and how their weights are read.

Each builder returns a frozen net (N, 3 or 1, H, W) -> (N, d). RadImageNet's ResNet-50 (YODA,
III-F) and ImageNet's ViT-B/16 are MONAI's, with the key names of published weight files mapped
onto them; the offline net is our own. Weights are data: nothing is unpickled.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from yoda_nb.errors import InputError
from yoda_nb.nets.models import WEIGHTS, Card, fitted, read_net

State = dict[str, Tensor]
OFFLINE_WEIGHTS, TISSUE_WEIGHTS = (WEIGHTS / f"{name}.safetensors" for name in ("features", "features-tissue"))


def offline_net(width: int = 16, features: int = 32) -> nn.Sequential:
    """A small convolutional net, (N, 1, H, W) in [0, 1] -> (N, features), for any H, W >= 8.

    It has no normalisation layer: those divide out the noise level that it has to see.
    """
    channels = (1, width, 2 * width, 3 * width, 4 * width)
    layers: list[nn.Module] = []
    for i in range(4):
        stride = 1 if i == 0 else 2
        layers += [nn.Conv2d(channels[i], channels[i + 1], 3, stride=stride, padding=1), nn.ReLU()]
    head = nn.Linear(channels[-1], features)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def untrained_net(seed: int, width: int = 16, features: int = 32) -> nn.Sequential:
    """The same net with random weights (He et al. 2015) and no training at all: a number of ``seed`` each."""
    with torch.random.fork_rng(devices=[]):  # layers are made with weights of their own
        net = offline_net(width, features)
    generator = torch.Generator().manual_seed(seed)
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
            layer.bias = nn.Parameter(torch.zeros(layer.weight.shape[0]))
    return net.eval().requires_grad_(False)


def resnet50(state: State, *, width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3)) -> nn.Module:
    """ResNet-50 without its classifier, (N, 3, H, W) -> (N, 32 * width), carrying ``state``.

    ``state`` may have torchvision's key names, RadImageNet's (``backbone.0.weight`` ...), or those
    of the RadImageNet weights converted from Keras (MONAI's perceptual models). The last have
    convolution biases and stride in the first 1x1 convolution of a stage: same shapes, another
    net, so the bias decides which is built.
    """
    from monai.networks.nets import ResNet  # seconds: only where it is built

    stages = {"0": "conv1", "1": "bn1", **{str(i + 3): f"layer{i}" for i in (1, 2, 3, 4)}}
    state = {
        re.sub(r"^backbone\.(\d)\.", lambda m: stages.get(m[1], m[1]) + ".", key): value
        for key, value in state.items()
        if not key.startswith("fc.")
    }
    planes = [width * 2**i for i in range(4)]
    net = ResNet(
        "bottleneck",
        list(blocks),
        planes,
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    )
    if "conv1.bias" in state:
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.bias = nn.Parameter(torch.zeros(module.out_channels))
            elif isinstance(module, nn.BatchNorm2d):
                module.eps = 1.001e-5
        for stage in (net.layer2, net.layer3, net.layer4):
            first: Any = stage[0]
            first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    return fitted(net, state, "This weights file for ResNet-50")


_TORCHVISION_VIT = (
    (r"^class_token$", "cls_token"),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
)
_TIMM_VIT = (
    (r"^patch_embed\.proj\.", "patch_embedding.patch_embeddings."),
    (r"\.attn\.proj\.", ".attn.out_proj."),
    (r"\.mlp\.fc([12])\.", r".mlp.linear\1."),
)


def _renamed(state: State, rules: tuple[tuple[str, str], ...]) -> State:
    def rename(key: str) -> str:
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        return key

    return {rename(key): value for key, value in state.items()}


def vit_b16(state: State, *, width: int = 768, depth: int = 12, heads: int = 12, size: int = 224) -> nn.Module:
    """ViT-B/16 without its classifier, (N, 3, size, size) -> the class token (N, width).

    ``state`` may have torchvision's key names (``vit_b_16``) or timm's (``vit_base_patch16_224``).
    """
    from monai.networks.nets import ViT  # seconds: only where it is built

    state = {k: v for k, v in state.items() if not k.startswith(("head.", "heads."))}
    state = _renamed(_renamed(state, _TORCHVISION_VIT), _TIMM_VIT)
    if {"cls_token", "pos_embed"} <= state.keys() and state["pos_embed"].ndim == 3:
        # MONAI gives the class token no position of its own: add it to the token itself.
        position = state.pop("pos_embed")
        state["cls_token"] = state["cls_token"] + position[:, :1]
        state["patch_embedding.position_embeddings"] = position[:, 1:]
    net = ViT(
        3,
        (size, size),
        (16, 16),
        hidden_size=width,
        mlp_dim=4 * width,
        num_layers=depth,
        num_heads=heads,
        proj_type="conv",
        classification=True,
        spatial_dims=2,
        qkv_bias=True,
    )
    net.classification_head = nn.Sequential()  # none
    for block in net.blocks:
        block.norm_cross_attn = nn.Identity()  # built by MONAI, used by no plain ViT
    for module in net.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6
    return fitted(net, state, "This weights file for ViT-B/16")


def read_weights(path: str | Path) -> State:
    """A state dict from .safetensors, or from .pt/.pth by ``torch.load(weights_only=True)``.

    Raises InputError for a missing, damaged or unsafe file, or one that holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no weights file at {path}; give the path of a downloaded file.")
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path.read_bytes())
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged file can fail in any way
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}); give an undamaged "
            ".safetensors file, or a .pt or .pth file that holds tensors only."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path} contains no state dict; save one with torch.save(net.state_dict(), path).")
    return {re.sub(r"^module\.", "", str(key)): value for key, value in state.items()}


def read_offline(path: str | Path) -> nn.Module:
    """The offline net from its safetensors file, checked against the card's sha256 beside it."""

    def build(card: Card) -> nn.Module:
        return offline_net(**{name: int(card["net"][name]) for name in ("width", "features")})

    return read_net(Path(path), build)[0]
