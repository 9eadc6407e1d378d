"""What a training method is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:  # a configuration holds its method
    from yoda_nb.training.batches import Batch, TrainConfig

Nets = Mapping[str, nn.Module]
Loss = Callable[[Nets, "Batch", "TrainConfig"], Tensor]


@dataclass(frozen=True)
class Player:
    """Nets that are updated together, and the loss that they lower."""

    nets: tuple[str, ...]
    loss: Loss


def only_net(config: TrainConfig) -> dict[str, nn.Module]:
    return {"net": config.net.build()}


def no_noise(config: TrainConfig) -> int:
    return 0


def none_resting(config: TrainConfig, step: int) -> Collection[str]:
    return ()


@dataclass(frozen=True)
class Method:
    """How nets are trained: ``players`` move in turn on every batch, the last one's loss is logged.

    ``build`` makes the nets; the one called "net" is averaged, validated and kept. ``validate``,
    on fixed batches, is the last player's loss unless given. Losses draw nothing themselves: ``noise`` numbers of
    chance for each slab come with the batch. Nets that are ``resting`` in a step keep their weights; of every player
    one must move.
    """

    name: str  # on cards and in checkpoints
    players: tuple[Player, ...]
    build: Callable[[TrainConfig], dict[str, nn.Module]] = only_net
    validate: Loss | None = None
    noise: Callable[[TrainConfig], int] = no_noise  # normal numbers a slab needs beside ``eps``
    resting: Callable[[TrainConfig, int], Collection[str]] = none_resting

    @property
    def validation(self) -> Loss:
        return self.validate or self.players[-1].loss
