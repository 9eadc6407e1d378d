"""Sampling ahead in several processes: what is in the bank afterwards, and that no failure is silent or stops anything."""

from __future__ import annotations

import pandas as pd
import torch

from yoda_nb.errors import InputError
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.store import default_bank, entries
from yoda_papers.ledger import ahead
from yoda_papers.ledger.evidence import MAKERS, Study

ABOUT = ("tiny", 0, "cpu", True)  # of a study


def test_shares_together_fill_the_bank(monkeypatch, tmp_path):
    monkeypatch.setenv("YODA_NB_BANK", str(tmp_path))
    v = phantom_case(3, spacing=6.0, shape=(32, 32, 32))
    seen = []

    def make(study: Study) -> pd.DataFrame:
        seen.append([study.samples(v, "yoda-ddim", n_steps=n, model="tiny-t1w-t2w-flair") for n in (1, 2, 3)])
        return pd.DataFrame()

    monkeypatch.setitem(MAKERS, "small", make)
    assert ahead._scouted("small", ABOUT, 2, 0) == "" and len(entries(default_bank())) == 1
    assert ahead._scouted("small", ABOUT, 2, 1) == "" and len(entries(default_bank())) == 3
    make(Study(*ABOUT))
    assert len(entries(default_bank())) == 3, "nothing is left to sample"
    for n, (one, other, all_) in enumerate(zip(*seen, strict=True), 1):
        mine = other if n % 2 else one
        assert torch.equal(mine, all_)


def test_what_fails_in_a_process_is_told_in_a_line_and_stops_nothing(monkeypatch):
    said: list[str] = []
    ahead.draw_ahead("nosuch", Study("tiny", device="cpu"), 2, said.append)
    assert len(said) == 2 and all("KeyError" in line and "\n" not in line for line in said)

    def dead(*_, **__):
        raise InputError("A worker process died.")

    monkeypatch.setattr(ahead, "in_workers", dead)
    ahead.draw_ahead("samplers", Study("tiny"), 2, said.append)
    assert said[2:] == ["samplers, sampled ahead: A worker process died."]
