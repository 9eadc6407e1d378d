"""Sampling ahead in several processes: what is in the bank afterwards, and that no failure is silent or stops anything."""

from __future__ import annotations

from yoda_nb.errors import InputError
from yoda_nb.study import ahead
from yoda_nb.study.bank import default_bank, entries
from yoda_nb.study.claims.evidence import Study


def test_two_processes_fill_the_bank_with_a_share_each(monkeypatch, tmp_path):
    monkeypatch.setenv("YODA_NB_BANK", str(tmp_path))
    said: list[str] = []
    ahead.draw_ahead("samplers", Study("tiny", device="cpu", fresh=True), 2, said.append)
    assert said == [] and len(entries(default_bank())) >= 2 * 3, "two subjects by several samplers"


def test_what_fails_in_a_process_is_told_in_a_line_and_stops_nothing(monkeypatch):
    said: list[str] = []
    ahead.draw_ahead("nosuch", Study("tiny", device="cpu"), 2, said.append)
    assert len(said) == 2 and all("KeyError" in line and "\n" not in line for line in said)

    def dead(*_, **__):
        raise InputError("A worker process died.")

    monkeypatch.setattr(ahead, "in_workers", dead)
    ahead.draw_ahead("samplers", Study("tiny"), 2, said.append)
    assert said[2:] == ["samplers, sampled ahead: A worker process died."]
