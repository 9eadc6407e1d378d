"""The discriminators of patches that adversarial methods share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from yoda_nb.nets.blocks import TimeEmbedding, run_blocks


class Discriminator(nn.Module):
    """Logits of patches: images (N,in_channels,A,B) [, times (N,)] -> (N,1,a,b).

    One block for each width: two convolutions, the embedded time as a bias after the first, and a
    halving of the sides [SynDiff IV-B.1: six blocks for 256 x 256]. The way in to 2 x 2 voxels halves
    them once more: two blocks judge 48 x 48 by 6 x 6 patches, three by 3 x 3, about what six leave of
    256. No normalisation, which would tie the voxels of an image to each other. ``time_scale``
    multiplies the times before they are embedded.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, ...] = (16, 48),
        time: bool = False,
        time_scale: float = 1.0,
        embedding: int = 32,
    ):
        super().__init__()
        self.time = TimeEmbedding(embedding, time_scale) if time else None
        self.first = nn.Conv2d(4 * in_channels, channels[0], 3, padding=1)
        widths = [channels[0], *channels]
        self.blocks = nn.ModuleList(
            _Halving(before, width, embedding if time else 0)
            for before, width in zip(widths[:-1], widths[1:], strict=True)
        )
        self.out = nn.Conv2d(channels[-1], 1, 1)
        for layer in self.modules():  # without normalisation, torch's own start would fade with depth
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor, times: Tensor | None = None) -> Tensor:
        embedding = None if self.time is None else F.silu(self.time(times))
        h = run_blocks(self.blocks, self.first(F.pixel_unshuffle(images, 2)), embedding)
        return self.out(F.leaky_relu(h, 0.2))


class _Halving(nn.Module):
    """One block: a convolution, the embedding (N,E) as a bias where there is one, and half the sides."""

    def __init__(self, channels: int, out: int, embedding: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        self.bias = nn.Linear(embedding, out) if embedding else nn.Identity()
        self.down = nn.Conv2d(out, out, 4, stride=2, padding=1)

    def forward(self, h: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.conv(F.leaky_relu(h, 0.2))
        if embedding is not None:
            h = h + self.bias(embedding)[:, :, None, None]
        return self.down(F.leaky_relu(h, 0.2))


class Discriminator3D(nn.Module):
    """Numbers of patches: (N,C,S,A,B) -> (N,1,s,a,b)."""

    def __init__(self, channels: int, widths: tuple[int, int] = (16, 32)):
        super().__init__()
        first, second = widths
        self.layers = nn.Sequential(
            *(nn.Conv3d(channels, first, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
            *(nn.Conv3d(first, second, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
            nn.Conv3d(second, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
