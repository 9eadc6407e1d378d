"""Evidence on slice-consistent bridges (SKC-ISTA)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_papers.bridge import STYLED
from yoda_papers.bridge.claims import both_looks, residual, scanner_of, slice_looks, slice_means, subjects, unevenness
from yoda_papers.bridge.tables import SUBJECTS
from yoda_papers.bridge.verdicts import EFFECTS, blocked
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.verdicts import paired_effect


def test_a_change_of_style_leaves_no_residual_and_an_uneven_slice_does():
    truth = torch.rand((1, 6, 6, 8), generator=torch.Generator().manual_seed(3)) * 1.6 - 0.8
    mask = torch.ones_like(truth, dtype=torch.bool)
    mask[:, 0] = False
    styled = 2 * ((truth + 1) / 2) ** 1.7 - 1
    assert float(residual(styled, truth, mask).abs().max()) < 1e-6
    uneven = styled.clone()
    uneven[..., ::2] += 0.1
    even, rest = (residual(image, truth, mask) for image in (styled, uneven))
    assert unevenness(even, mask) < 1e-6 < 0.015 < unevenness(rest, mask) < 0.03  # about half of 0.05
    assert list(slice_means(rest, mask).slice) == list(range(8))
    assert (rest[~mask] == 0).all()


def test_the_look_of_a_slice_is_the_share_of_scanner_b():
    v = phantom_case(5, **STYLED, shape=(32, 32, 32), spacing=6.0)
    looks = both_looks(v)
    assert scanner_of(v) == v.subject[-1] and torch.equal(looks["ab".index(scanner_of(v))], v.clean)
    for share in (0.0, 0.3, 1.0):
        image = looks[0] + share * (looks[1] - looks[0])
        found = slice_looks(image, looks, v.mask)
        np.testing.assert_allclose(found.look, share, atol=1e-5)
    noisy = slice_looks(v.target, looks, v.mask).look
    assert abs(noisy.mean() - "ab".index(scanner_of(v))) < 0.1 and noisy.std() < 0.1
    mixed = looks[0].clone()
    mixed[..., ::2] = looks[1][..., ::2]
    found = slice_looks(mixed, looks, v.mask)
    np.testing.assert_allclose(found.look, 1 - found.slice % 2, atol=1e-5)
    assert 0.45 < found.look.std() < 0.55
    with pytest.raises(ValueError, match="not a phantom of two scanners"):
        both_looks(phantom_case(5, shape=(32, 32, 32), spacing=6.0))


def test_table_2_has_the_two_scanners_in_turn():
    """Their number is the rules', so that no subject is chosen for what it shows."""
    assert SUBJECTS == 8
    assert [v.subject for v in subjects(Study("tiny"))] == ["phantom-1001-look-b", "phantom-1002-look-a"]


def scores(n: int = 8) -> pd.DataFrame:
    """A gain of 3 in one scanner and of -1 in the other, with little spread in each."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        scanner = "a" if k < n // 2 + 1 else "b"
        gain = (3 if scanner == "a" else -1) + 0.1 * rng.standard_normal()
        for sampler, psnr in (("x", 20 + gain), ("y", 20)):
            rows.append({"scanner": scanner, "subject": k, "sampler": sampler, "psnr": psnr})
    return pd.DataFrame(rows)


def test_blocking_by_scanner_takes_their_difference_out_of_the_interval():
    table = scores()
    whole, found = paired_effect(table, "psnr", "x", "y", ">"), blocked(table, "psnr", "x", "y", ">")
    gain = table.pivot_table(index=["scanner", "subject"], columns="sampler", values="psnr").eval("x - y")
    assert found.value == pytest.approx(gain.groupby("scanner").mean().mean())
    assert found.high - found.low < 0.3 < 1 < whole.high - whole.low
    assert found.verdict == "reproduced" and whole.verdict == "inconclusive" and found.df == 6
    # two groups of one size: the textbook's pooled variance
    even = table[table.subject != 4]
    a, b = (g.to_numpy() for _, g in gain.drop(4, level="subject").groupby("scanner"))
    pooled = (a.var(ddof=1) * (len(a) - 1) + b.var(ddof=1) * (len(b) - 1)) / (len(a) + len(b) - 2)
    half = blocked(even, "psnr", "x", "y", ">")
    assert (half.high - half.low) / 2 == pytest.approx(
        2.5706 * (pooled * (1 / len(a) + 1 / len(b))) ** 0.5 / 2, rel=1e-3
    )


@pytest.mark.parametrize("one", [True, False])
def test_without_two_subjects_of_each_scanner_nothing_is_blocked(one):
    table = scores(4).query("scanner == 'a'") if one else scores(4)
    assert blocked(table, "psnr", "x", "y", ">") == paired_effect(table, "psnr", "x", "y", ">")


def test_b01_asks_for_mixing_and_for_its_removal():
    """Rules on a table by hand: mixing of 0.3 without key and of ``left`` with it."""

    def verdicts(pure: float, left: float) -> list[str]:
        rng = np.random.default_rng(1)
        rows = [
            {"scanner": "ab"[k % 2], "subject": k, "sampler": name, "reference": "acquired", "mixing": level}
            | {"psnr": 20 + (name != "no key") + rng.normal(0, 0.1), "ssim": 0.8 + 0.01 * (name != "no key")}
            for k in range(8)
            for name, mixing in (("no key", pure), ("average key", left))
            for level in [mixing * (1 + 0.05 * rng.standard_normal())]
        ]
        study = type("Of", (), {"table": lambda self, name: pd.DataFrame(rows)})()
        return [e.verdict for e in EFFECTS["B01"](study)]

    assert verdicts(0.3, 0.05) == ["reproduced"] * 4
    assert verdicts(0.3, 0.25)[:2] == ["reproduced", "not reproduced"]
    assert verdicts(0.02, 0.02)[:2] == ["not reproduced", "not reproduced"]


def test_b05_asks_for_palette_and_both_3d_models():
    """Two of three rivals known by hand, ALDM the better one; the third counts as unknown."""

    def rows(**psnr: float) -> pd.DataFrame:
        rng, known = np.random.default_rng(2), []
        for name, level in psnr.items():
            each = level + rng.normal(0, 0.1, 8)
            about = {"subject": range(8), "sampler": name, "reference": "acquired"}
            known.append(pd.DataFrame(about | {"psnr": each, "mse": 10 ** (-each / 10), "ssim": each / 40}))
        return pd.concat(known)

    known = {"bridge_rivals": rows(bridge=20, Palette=19), "benchmark": rows(bbdm=20, aldm=22, unet=25)}
    effects = EFFECTS["B05"](type("Of", (), {"table": lambda self, name: known[name]})())
    assert [e.verdict for e in effects] == ["reproduced"] * 3 + ["inconclusive"] + ["not reproduced"] * 3
    assert "RevGAN (not here)" in effects[3].name
    nrmse = (10 ** (-20 / 20) - 10 ** (-19 / 20)) * 1e3
    assert effects[0].value == pytest.approx(nrmse, rel=0.1) and effects[6].value == pytest.approx(-2, abs=0.2)
