"""Evidence against closed forms, and what is shipped against what the code gives now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from yoda_nb import study
from yoda_nb.data.phantom import phantom_case
from yoda_nb.errors import InputError
from yoda_nb.papers.yoda.ablations import model_name
from yoda_nb.study import shipping as shipped
from yoda_nb.study.claims import evidence
from yoda_nb.study.claims.evidence import MAKERS, Study, read_shipped
from yoda_nb.study.claims.yoda import averages, samplers
from yoda_nb.systems.models import find_model, load_model
from yoda_nb.systems.table import get_system


@pytest.fixture(scope="module")
def first():
    return study.load_subjects(1)[0]


@pytest.fixture(scope="module")
def small():
    return phantom_case(3, spacing=6.0, shape=(32, 32, 32))


@pytest.fixture
def anew(monkeypatch):
    """Nothing shipped answers."""
    monkeypatch.setenv("YODA_NB_SHIPPED", "0")


def test_white_noise_has_the_same_power_everywhere():
    mask = torch.ones(1, 32, 32, 32, dtype=torch.bool)
    x = 0.3 * torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    frequency, power = averages.radial_power(x, mask)
    assert frequency[-1] < 0.5 and power[3:] == pytest.approx(0.09, rel=0.2)  # the first rings hold few waves


def test_a_wave_has_its_power_in_its_ring():
    mask = torch.ones(1, 32, 32, 32, dtype=torch.bool)
    wave = torch.cos(2 * torch.pi * 0.25 * torch.arange(32)).view(1, 32, 1, 1).expand(1, 32, 32, 32)
    frequency, power = averages.radial_power(wave, mask)
    assert abs(frequency[power.argmax()] - 0.25) < 0.03


def test_the_line_finds_a_target_that_is_one(small):
    weights = torch.tensor([0.3, 0.5]).view(2, 1, 1, 1)
    target = ((weights * (small.source + 1) / 2).sum(0, keepdim=True) + 0.1) * 2 - 1
    line = samplers._line(replace(small, target=target))
    assert torch.allclose(line[small.mask], ((target + 1) / 2)[small.mask], atol=1e-5)


def test_the_noise_of_a_phantom_is_its_sigma():
    v = phantom_case(1001, sigma=0.03)
    assert samplers.label_noise(v, v.target) == pytest.approx(0.03, rel=0.06)
    assert samplers.label_noise(v, v.clean) == 0


def test_draws_are_reproducible_and_the_first_is_everyone(first):
    from yoda_nb.study import tables

    made = {"copy": [first.target, first.target], "truth": [first.clean] * 2}
    volumes = [first, replace(first, subject="other")]
    table = tables.score_table(volumes, made)
    a, b = (samplers.fd_draws(volumes, made, table, seed=4, draws=3) for _ in range(2))
    pd.testing.assert_frame_equal(a, b)
    at = a[a.draw == 0].set_index("sampler")
    assert at.fd["copy"] == pytest.approx(0, abs=1e-6) and at.fd["truth"] > 1 and at.gap["copy"] == 0


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_shipped_table_is_whole(name):
    table = read_shipped(name)
    assert len(table) and not table.columns.duplicated().any()
    assert table.select_dtypes("number").notna().any().all()


def test_shipped_rician_table_is_what_the_code_gives():
    pd.testing.assert_frame_equal(MAKERS["rician"](Study()), read_shipped("rician"), rtol=1e-5)


def test_shipped_samples_are_what_the_code_gives(first, anew, monkeypatch):
    """Regression and two steps of DDIM of one subject, to what half precision leaves."""
    weights = load_model(find_model(first.sources, None, 3.0)).sha256
    for system, settings in (("yoda-regression", {}), ("yoda-ddim", {"n_steps": 2})):
        now = study.samples(first, system, **settings)
        monkeypatch.setenv("YODA_NB_SHIPPED", "1")
        then = shipped.find_shipped(first, get_system(system, **settings), 0, weights)
        monkeypatch.setenv("YODA_NB_SHIPPED", "0")
        assert then is not None, f"{system} {settings} is not shipped"
        assert (now - then)[:, first.mask].square().mean().sqrt() < 0.01


def test_shipped_scores_are_what_the_code_gives(first, anew):
    """One subject of the tables behind most verdicts, by the large and by a small model."""
    from yoda_nb.study import tables

    image = study.samples(first, "yoda-regression")[0]
    now = tables.score_table([first], {"regression": [image]}).query("sampler == 'regression'")
    then = read_shipped("samplers").query("subject == @first.subject and sampler == 'regression'")
    for column, tolerance in (("ssim", 0.002), ("psnr", 0.1), ("noise", 0.001)):
        assert now[column].to_numpy() == pytest.approx(then[column].to_numpy(), abs=tolerance)

    image = study.samples(first, "yoda-regression", model=model_name("single-slice", 0))[0]
    now = tables.score_table([first], {"x": [image]}).query("sampler == 'x' and reference == 'acquired'")
    then = read_shipped("slabs").query(
        "subject == @first.subject and sampler == 'regression' and slices == 1 and training == 0 "
        "and reference == 'acquired'"
    )
    assert now.ssim.to_numpy() == pytest.approx(then.ssim.to_numpy(), abs=0.002)


def test_a_changed_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "TABLES", tmp_path)
    monkeypatch.setattr(evidence, "INDEX", tmp_path / "index.json")
    evidence.ship("rician", pd.DataFrame({"a": [1.0, np.nan], "b": ["x", "n/a"]}), {"seconds": 1, "machine": "m"})
    back = read_shipped("rician")
    assert back.b.tolist() == ["x", "n/a"] and np.isnan(back.a[1])
    (tmp_path / "rician.csv").write_text("a,b\n2,x\n")
    with pytest.raises(InputError, match="not the table"):
        read_shipped("rician")


def test_samples_come_back_as_they_were_shipped(small, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "SAMPLES", tmp_path)
    x = torch.where(small.mask, torch.rand(2, *small.mask.shape) * 2 - 1, -1.0)
    spec = get_system("yoda-diffusion", n_ex=2)
    path = shipped.ship(small, spec, 0, "sha", x)
    assert torch.allclose(shipped.find_shipped(small, spec, 0, "sha"), x, atol=1e-4)
    assert shipped.find_shipped(small, spec, 1, "sha") is None
    assert shipped.find_shipped(small, replace(spec, n_steps=9), 0, "sha") is None
    other = replace(small, source=small.source * 0.9)  # the same name, another image
    assert shipped.find_shipped(other, spec, 0, "sha") is None
    monkeypatch.setenv("YODA_NB_SHIPPED", "0")
    assert shipped.find_shipped(small, spec, 0, "sha") is None
    monkeypatch.delenv("YODA_NB_SHIPPED")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="not the file"):
        shipped.find_shipped(small, spec, 0, "sha")


def test_what_is_shipped_is_small():
    folder = evidence.TABLES.parents[1]
    files = [p for name in ("samples", "evidence/tables") for p in (folder / name).glob("*")]
    assert files and sum(p.stat().st_size for p in files) < 10e6
    weights = list((folder / "weights" / "ablations").glob("*.safetensors"))
    assert weights and all(p.stat().st_size < 1.5e6 for p in weights)
