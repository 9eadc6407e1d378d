"""The ledger: verdicts that follow the numbers, all of them, and what they rest on."""

from __future__ import annotations

import json

import pytest
from all_findings import findings
from typer.testing import CliRunner

from yoda_nb.cli import app
from yoda_nb.data.places import NOTEBOOKS
from yoda_nb.errors import InputError
from yoda_nb.study.findings import MIME, SYMBOLS
from yoda_nb.systems.papers import PAPERS
from yoda_papers import ledger as claims
from yoda_papers.ledger import evidence
from yoda_papers.ledger import findings as ledger
from yoda_papers.ledger.evidence import Study
from yoda_papers.ledger.findings import EFFECTS, NOTES, foreign, note_of, show_findings
from yoda_papers.ledger.verdicts import INCONCLUSIVE, Effect, mean_effect


def test_every_claim_of_the_five_papers_has_effects_and_a_notebook():
    found = claims.read_claims()
    counts = {"Y": 34, "K": 10, "S": 6, "F": 3, "B": 6}
    assert sorted(found) == sorted(f"{letter}{i:02d}" for letter, n in counts.items() for i in range(1, n + 1))
    assert set(found) == set(EFFECTS) and set(NOTES) <= set(EFFECTS)
    assert {claim.paper for claim in found.values()} <= set(PAPERS)
    notebooks = {p.stem for p in NOTEBOOKS.glob("*.ipynb")}
    assert {claim.notebook for claim in found.values()} <= notebooks


def test_a_notebook_checks_the_claims_that_the_ledger_gives_it():
    for claim in claims.read_claims().values():
        if claim.notebook:
            assert claim.id in (NOTEBOOKS / f"{claim.notebook}.ipynb").read_text(encoding="utf-8"), claim.id


def test_the_ledger_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(InputError, match="Y99"):
        claims.find(["Y99"], study=Study())
    path = tmp_path / "claims.csv"
    path.write_text("id,claim\nY01,x\n")
    with pytest.raises(InputError, match="has no column paper"):
        claims.read_claims(path)
    with pytest.raises(InputError, match="nonsense"):
        Study().table("nonsense")


def test_all_verdicts_as_one_json_document():
    found = json.loads(json.dumps([finding.document() for finding in findings()], allow_nan=False))
    assert [f["id"] for f in found] == list(claims.read_claims())
    for f in found:
        assert f["verdict"] in SYMBOLS
        assert f["basis"].startswith(("Shipped evidence (", "Computed in this run")) and f["shipped"]
        assert f["effects"] or NOTES.get(f["id"]), "a claim without effects says why"
        assert all((e["n"] >= 1 or e["value"] is None) and e["name"] and e["rule"] for e in f["effects"])


@pytest.mark.parametrize("claim, table, column", [("Y03", "samplers", "ssim"), ("Y14", "slabs", "ssim")])
def test_a_verdict_follows_the_evidence(monkeypatch, claim, table, column):
    """Turn the sign of the scores: what was found must turn too."""
    original = Study.table
    flip = lambda self, name: original(self, name).assign(**{column: lambda t: -t[column]})  # noqa: E731
    before = claims.find([claim], study=Study())[0].effects[0]
    monkeypatch.setattr(Study, "table", flip)
    after = claims.find([claim], study=Study())[0].effects[0]
    assert after.value == pytest.approx(-before.value) and after.low == pytest.approx(-before.high)


def test_a_finding_shows_itself_and_travels_as_json(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    finding = claims.find(["Y02"], study=Study())[0]
    show_findings([finding])
    bundle = shown[0]
    assert bundle[MIME][0]["id"] == "Y02" and 'id="claim-Y02"' in bundle["text/html"]
    json.dumps(bundle[MIME], allow_nan=False)
    assert finding.verdict in bundle["text/html"]


def test_numbers_that_are_not_finite_become_null():
    finding = claims.Finding(claims.read_claims()["Y01"], (mean_effect("x", [1.0], ">"),))
    document = json.loads(json.dumps(finding.document(), allow_nan=False))
    assert document["effects"][0]["low"] is None and document["verdict"] == INCONCLUSIVE


# --- what a finding rests on


def test_a_finding_tells_which_tables_it_rests_on_and_from_where_they_are():
    (finding,) = claims.find(["Y03"], study=Study())
    assert finding.tables == ("samplers",)
    about = evidence.index()["samplers"]
    told = f"Shipped evidence (samplers): {about['machine']}, commit {about['commit']}, {about['date']}."
    assert finding.basis.startswith(told) and finding.document()["basis"] == finding.basis
    assert finding.document()["shipped"] == ["samplers"]


def test_a_stale_table_is_told_by_its_findings_and_noted_by_their_check(monkeypatch, capsys):
    (finding,) = claims.find(["Y03"], study=Study())
    monkeypatch.setattr(ledger, "libraries_note", lambda *names: "")
    for module in (evidence, ledger):
        monkeypatch.setattr(module, "outdated", lambda name: ())
    assert finding.stale == () and "OUTDATED" not in finding.basis
    claims.check_findings([finding])
    for module in (evidence, ledger):
        monkeypatch.setattr(module, "outdated", lambda name: ("version",))
    assert finding.stale == ("samplers", "scans-samplers") and "OUTDATED: samplers" in finding.basis
    assert capsys.readouterr().out == ""
    claims.check_findings([finding])
    assert "weights of these shipped tables have changed since: samplers" in capsys.readouterr().out
    monkeypatch.setattr(ledger, "libraries_note", lambda *names: f"{names[0]} made with torch 1.0 (here 9.0)")
    claims.check_findings([finding])
    assert "libraries here are not those of the shipped tables: samplers made with torch 1.0" in capsys.readouterr().out


def test_verdicts_that_are_not_of_this_run_are_named():
    own = {"seed": 0, "device": "", "dataset": "phantom", "subject": "", "own_files": ""}
    assert foreign(Study(), own) == "" and foreign(Study(), own | {"seed": 0, "subject": None}) == ""
    said = foreign(Study(), own | {"seed": 7, "dataset": "mine"})
    assert "not of this run's seed 7, dataset 'mine'" in said and "profile quick, seed 0" in said
    assert foreign(Study("full", 7), own | {"seed": 7}) == ""
    assert "seed 0" in foreign(Study("full", 7), own).split(":")[0]


@pytest.mark.parametrize(
    ("effect", "says"),
    [
        (Effect("x", 0.5, 0.6, 0.7, 5, ">"), "lies outside"),
        (Effect("x", 0.5, 0.4, 0.7, 5, ">", p=1.5), "p = 1.5"),
        (Effect("x", 0.5, 0.4, 0.7, 0, ">"), "n = 0"),
    ],
)
def test_numbers_that_cannot_be_right_are_refused(effect, says):
    finding = claims.Finding(claims.read_claims()["Y01"], (effect,))
    with pytest.raises(AssertionError, match=says):
        claims.check_findings([finding])
    with pytest.raises(AssertionError, match="Y01 has no effect"):
        claims.check_findings([claims.Finding(finding.claim, ())])


def test_a_users_extractor_needs_fresh_evidence_and_a_weights_file(tmp_path):
    def refused(*words):
        result = CliRunner().invoke(app, ["claims", "Y07", *words])
        assert result.exit_code == 2
        return result.output

    assert "add --fresh" in refused("--extractor", "imagenet-vit-b16=vit.pth")
    assert "no weights file" in refused("--fresh", "--extractor", f"imagenet-vit-b16={tmp_path / 'vit.pth'}")
    assert "has no '='" in refused("--fresh", "--extractor", "imagenet-vit-b16")


def test_the_numbers_of_a_note_are_those_of_its_effects():
    notes = {"X01": "{PSNR, a less b:.1f} dB, {abs PSNR, a less b:.2f} dB in size"}
    for psnr, text in ((-0.12, "-0.1 dB, 0.12 dB in size"), (0.5, "0.5 dB, 0.50 dB in size")):
        effect = mean_effect("PSNR, a less b", [psnr, psnr], ">", 0, unit="dB")
        assert note_of("X01", [effect], notes) == text
    with pytest.raises(KeyError, match="PSNR, a less b"):
        note_of("X01", [], notes)
