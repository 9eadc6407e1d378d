"""A generator of one step against a critic of pairs: least squares and a distance (Isola et al. 2017, Mao et al. 2017).

The critic sees an image beside the sources that it belongs to, and its numbers are to be 1 for acquired images and
0 for made ones. Distances are means weighted as those of all methods here, little outside the brain: by the mean
over all of a window, as ResViT's and Ea-GAN's authors take it, small nets learned background and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from yoda_nb.training.batches import Batch, TrainConfig
from yoda_nb.training.method import Method, Nets, Player

Distance = Callable[[Tensor, Tensor, Tensor], Tensor]  # of made and acquired images and weights (N,S,A,B): a number
Look = Callable[[Tensor, Tensor], Tensor]  # images (N,S,A,B) and sources (N,C*S,A,B): what the critic takes


def least_squares(judged: Tensor, real: bool) -> Tensor:
    """Mean square of a critic's numbers less what they are to be (Mao et al. 2017, eq. 2 with labels 1 and 0)."""
    return (judged.float() - float(real)).square().mean()


def beside(images: Tensor, sources: Tensor) -> Tensor:
    """Images (N,S,A,B) after their sources (N,C*S,A,B), as channels."""
    return torch.cat([sources, images], 1)


def as_volumes(images: Tensor, sources: Tensor) -> Tensor:
    """Patches (N,S,A,B) after their sources (N,C*S,A,B), as channels of volumes: (N,C+1,S,A,B)."""
    return torch.cat([sources.unflatten(1, (-1, images.shape[1])), images[:, None]], 1)


def patch_weight(acquired: Tensor, weight: Tensor, config: TrainConfig) -> Tensor:
    """Weights (N,S,A,B) of a patch: ``weight`` (N,1,A,B) of its middle slice, and 1 for all that is not background."""
    return torch.maximum(weight, (acquired > -1) + config.outside * (acquired <= -1))


def absolute(made: Tensor, acquired: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean absolute difference of (N,S,A,B)."""
    return (weight * (made - acquired).abs()).sum() / weight.sum()


def paired_gan(
    name: str, critic: Callable[[TrainConfig], nn.Module], distance: Distance, adversarial: float, look: Look = beside
) -> Method:
    """The generator lowers ``distance`` plus ``adversarial`` times its critic's doubt; validated by the distance.

    Option "adversarial" takes the place of that weight. The net is given zeros where others see x_t, and all the
    slices of the slab where it makes them all, else the middle one, are compared.
    """

    def build(config: TrainConfig) -> dict[str, nn.Module]:
        return {"net": config.net.build(), "critic": critic(config)}

    def made(nets: Nets, batch: Batch) -> Tensor:
        return nets["net"](torch.cat([torch.zeros_like(batch.target), batch.source], 1), batch.times).float()

    def acquired(batch: Batch, config: TrainConfig) -> Tensor:
        middle, reach = batch.target.shape[1] // 2, config.net.out_slices // 2
        return batch.target[:, middle - reach : middle + reach + 1]

    def apart(fake: Tensor, batch: Batch, config: TrainConfig) -> Tensor:
        real = acquired(batch, config)
        return distance(fake, real, patch_weight(real, batch.weight, config))

    def critics(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
        with torch.no_grad():
            fake = made(nets, batch)
        real, false = (nets["critic"](look(x, batch.source)) for x in (acquired(batch, config), fake))
        return (least_squares(real, True) + least_squares(false, False)) / 2

    def generator(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
        fake = made(nets, batch)
        loss = apart(fake, batch, config)
        weight = float(config.option("adversarial", adversarial))
        return loss + weight * least_squares(nets["critic"](look(fake, batch.source)), True) if weight else loss

    def validate(nets: Nets, batch: Batch, config: TrainConfig) -> Tensor:
        return apart(made(nets, batch), batch, config)

    return Method(name, (Player(("critic",), critics), Player(("net",), generator)), build, validate)
