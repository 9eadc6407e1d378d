"""Variance-preserving diffusion: targets, time pairs, one step, the average of samples.

Time runs t = 0 .. T-1 from little to much noise and -1 is the clean image. The paper counts
1 .. T, so its t is ours plus one. Everything here is free of nets and of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor

from yoda_nb.diffusion.schedules import Schedule

Pair = tuple[int, int]
Denoiser = Callable[[Tensor, int, int], Tensor]  # (x_t, t, step index) -> x0
Step = Callable[[Tensor, Tensor, int, int, Tensor], Tensor]  # (x_t, x0, t, s, noise) -> x_s

PREDICTIONS = ("v", "eps", "x0")
SIGMAS = ("posterior", "fresh", "zero")
TIMES = ("even", "quadratic")


def add_noise(x0: Tensor, eps: Tensor, alpha_bar: Tensor | float) -> Tensor:
    """Forward process X_t = sqrt(ab) X_0 + sqrt(1 - ab) eps [YODA eq. 4]."""
    ab = torch.as_tensor(alpha_bar, dtype=x0.dtype, device=x0.device)
    return ab.sqrt() * x0 + (1 - ab).sqrt() * eps


def prediction_target(x0: Tensor, eps: Tensor, alpha_bar: Tensor | float, kind: str = "v") -> Tensor:
    """What the net is trained to predict; v = sqrt(ab) eps - sqrt(1 - ab) X_0 [YODA III-B]."""
    ab = torch.as_tensor(alpha_bar, dtype=x0.dtype, device=x0.device)
    return {"v": lambda: ab.sqrt() * eps - (1 - ab).sqrt() * x0, "eps": lambda: eps, "x0": lambda: x0}[kind]()


def to_x0(x: Tensor, output: Tensor, alpha_bar: Tensor | float, kind: str = "v") -> Tensor:
    """Inverse of ``prediction_target``: the net's output at x_t -> x0 [YODA Alg. 2, line 2]."""
    ab = torch.as_tensor(alpha_bar, dtype=x.dtype, device=x.device)
    if kind == "v":
        return ab.sqrt() * x - (1 - ab).sqrt() * output
    if kind == "eps":
        return (x - (1 - ab).sqrt() * output) / ab.sqrt()
    if kind == "x0":
        return output
    raise ValueError(f"prediction {kind!r} is unknown: choose among {', '.join(PREDICTIONS)}")


def time_pairs(n_train: int, n_steps: int, *, jump_to: int | None = None, times: str = "even") -> list[Pair]:
    """The reverse process as (from, to) pairs: [(T-1, ..), .., (t, -1)], ``n_steps`` of them.

    "even" times run from T-1 to -1, so one step is regression and T steps are every time; times
    "quadratic" in the step lie denser near the clean image, where noise of the acquisition's size
    is made. With ``jump_to`` the first pair is (T-1, jump_to) and the other steps are spread from
    there (truncation, YODA, III-B.2). Raises ValueError where the steps do not fit.
    """
    if times not in TIMES:
        raise ValueError(f"times must be {' or '.join(TIMES)}, got {times!r}")
    if not 1 <= n_steps <= n_train:
        raise ValueError(f"n_steps must lie in 1..{n_train}, got {n_steps}")
    if jump_to is None:
        head, top, n = [], n_train - 1, n_steps
    else:
        if not 0 <= jump_to < n_train - 1 or not 2 <= n_steps <= jump_to + 2:
            raise ValueError(
                f"jump_to must lie in 0..{n_train - 2} and n_steps in 2..jump_to+2, "
                f"got jump_to={jump_to} and n_steps={n_steps}"
            )
        head, top, n = [n_train - 1], jump_to, n_steps - 1
    share = np.linspace(1, 0, n + 1) ** (2 if times == "quadratic" else 1)
    # rounding must leave a time of its own to every step that follows
    spread = np.maximum(np.rint((top + 1) * share - 1), np.arange(n, -1, -1) - 1)
    ordered = [*head, *(int(t) for t in spread)]
    return list(zip(ordered[:-1], ordered[1:], strict=True))


def step_sigma(schedule: Schedule, t: int, s: int, kind: str) -> float:
    """Standard deviation of the noise that a step from t to s adds anew.

    "posterior" is DDPM's q(X_s | X_t, X_0), "fresh" re-noises all of it [YODA Alg. 2, line 5],
    "zero" is DDIM.
    """
    ab_t, ab_s = schedule.at(t), schedule.at(s)
    variance = {"posterior": (1 - ab_s) / (1 - ab_t) * (1 - ab_t / ab_s), "fresh": 1 - ab_s, "zero": 0.0}[kind]
    return float(np.sqrt(variance))


def vp_step(
    x: Tensor,
    x0: Tensor,
    t: int,
    s: int,
    noise: Tensor,
    *,
    schedule: Schedule,
    sigma: str = "posterior",
    jump_to: int | None = None,
) -> Tensor:
    """x_s = sqrt(ab_s) x0 + sqrt(1 - ab_s - sigma^2) eps + sigma noise, for any s < t.

    One formula holds DDPM, DDIM and the re-noising of YODA (eq. 6). A step that lands on
    ``jump_to`` is re-noised fresh whatever ``sigma`` says: eps at t = T tells nothing.
    """
    ab_t, ab_s = schedule.at(t), schedule.at(s)
    std = step_sigma(schedule, t, s, "fresh" if s == jump_to else sigma)
    eps = (x - ab_t**0.5 * x0) / (1 - ab_t) ** 0.5
    return ab_s**0.5 * x0 + max(1 - ab_s - std**2, 0.0) ** 0.5 * eps + std * noise


def gaussian(shape: Iterable[int], generator: torch.Generator, like: Tensor | None = None) -> Tensor:
    """Standard normal noise, drawn on the generator's device so that every device sees the same."""
    noise = torch.randn(tuple(shape), generator=generator, device=generator.device)
    return noise if like is None else noise.to(like)


def expected(samples: Iterable[Tensor], combine: str = "rms") -> Tensor:
    """Average samples in [-1,1], streamed: memory does not grow with their number.

    "rms" is the root mean square of magnitudes x + 1 in [0,2], as ExpA does [YODA eq. 2, 8];
    "mean" the plain mean. Raises ValueError for no samples.
    """
    if combine not in ("rms", "mean"):
        raise ValueError(f"combine must be 'rms' or 'mean', got {combine!r}")
    total: Tensor | None = None
    n = 0
    for x in samples:
        term = (x + 1).clamp(0, 2).square() if combine == "rms" else x
        total, n = term if total is None else total + term, n + 1
    if total is None:
        raise ValueError("expected() needs at least one sample")
    return (total / n).sqrt() - 1 if combine == "rms" else total / n
