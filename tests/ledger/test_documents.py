"""The pages of docs/ and the README say what the code says."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from all_findings import findings

import yoda_nb
from yoda_nb.cli import app
from yoda_nb.errors import InputError
from yoda_nb.images.headers import CAUTION
from yoda_nb.study.findings import SYMBOLS, counted
from yoda_nb.systems.papers import SYSTEMS
from yoda_nb.systems.table import get_system, parse_settings
from yoda_papers.ledger import documents
from yoda_papers.ledger.documents import (
    BLOCK,
    filled,
    ledger_tables,
    measured_tables,
    real_table,
    system_tables,
    write_documents,
)
from yoda_papers.ledger.evidence import index

ROOT = Path(__file__).parents[2]
DOCS, README = ROOT / "docs", ROOT / "README.md"
WRITTEN = ("systems.md", "ledger.md", "measured.md")
PAGES = (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md")))
MEASURED = {"command": "yoda-nb rebuild numbers", "machine": "an abacus", "commit": "0123456", "date": "2026-01-02"} | {
    "regression": [
        {"dataset": "d", "target": "T", "n": 3}
        | {"ssim_mean": 0.97341, "ssim_std": 0.0031, "psnr_mean": 31.14, "psnr_std": 0.83}
    ],
    "samples": [
        {"dataset": "d", "subject": "s|1", "acquired": 0.04352, "diffusion": 0.04023, "regression": 0.014}
        | {"ratio": 0.924, "expa10_ssim": 0.98612, "bound": 0.991}
    ],
}


@cache
def shell():
    return typer.main.get_command(app)


def options_of(words: list[str]) -> set[str]:
    """The options of the command that the first words name; KeyError if there is none."""
    command = shell()
    for word in words:
        if hasattr(command, "commands"):
            command = command.commands[word]
    return {"--help"} | {option for p in command.params for option in (*p.opts, *p.secondary_opts)}


def prose(page: Path) -> str:
    """A page without what is kept of an earlier version."""
    return page.read_text(encoding="utf-8").partition("## Measured at commit")[0].partition("## 0.1.0")[0]


# ---- the tables are what the code says


def test_the_ledger_is_what_the_claims_command_says():
    assert filled(DOCS / "ledger.md", ledger_tables(findings())) == (DOCS / "ledger.md").read_text(encoding="utf-8"), (
        "docs/ledger.md is out of date: run yoda-nb rebuild numbers"
    )


def test_the_table_of_systems_is_todays():
    assert filled(DOCS / "systems.md", system_tables()) == (DOCS / "systems.md").read_text(encoding="utf-8"), (
        "docs/systems.md is out of date: run yoda-nb rebuild numbers"
    )


def test_the_measured_numbers_are_those_of_the_json():
    numbers = DOCS / "measured.json"
    measured = json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else None
    page = DOCS / "measured.md"
    assert filled(page, measured_tables(measured) | {"real": real_table()}) == page.read_text(encoding="utf-8"), (
        "docs/measured.md is out of date: run yoda-nb rebuild numbers"
    )


def test_every_claim_has_one_row_with_its_verdict_an_effect_that_decides_it_and_evidence():
    rows = [
        line.split(" | ")
        for line in ledger_tables(findings())["claims"].replace(" (outdated)", "").splitlines()
        if re.match(r"\| \w\d", line)
    ]
    assert [row[0][2:] for row in rows] == sorted((f.claim.id for f in findings()), key=[r[0][2:] for r in rows].index)
    assert len(rows) == len(findings())
    said = {row[0][2:]: row for row in rows}
    for f in findings():
        row = said[f.claim.id]
        assert row[2].endswith(f" {f.verdict}") and row[8] == ", ".join(f.tables) and row[7] == f.ruled["date"]
        beside = "-" if f.on_scans is None else f"{SYMBOLS[f.on_scans.verdict]} {f.on_scans.verdict}, n = "
        assert row[9].startswith(beside)
        deciding = [e for e in f.effects if e.verdict == f.verdict]
        assert (deciding or f.effects)[0].found.replace("|", "\\|") in row[3]


def test_the_evidence_of_every_verdict_has_a_machine_a_commit_and_a_date():
    rows = {line.split("`")[1]: line for line in ledger_tables(findings())["evidence"].splitlines() if "`" in line}
    assert set(rows) == {name for f in findings() for g in (f, f.on_scans) if g for name in g.tables}
    for name, line in rows.items():
        about = index()[name]
        assert about["machine"] in line and re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", about["commit"]), name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date"]) and about["commit"] in line and about["date"] in line


def test_settings_in_the_table_are_words_that_the_shell_takes():
    rows = [line for line in system_tables()["values"].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(SYSTEMS)
    for row in rows:
        name, *words = re.findall(r"`([^`]+)`", row)
        settings = parse_settings(name, dict(word.split("=", 1) for word in words))
        assert settings and get_system(name, **settings) == SYSTEMS[name]


# ---- the writer


@pytest.fixture
def light(monkeypatch):
    """Only the first claim, for speed."""
    monkeypatch.setattr(documents, "find", lambda study: findings()[:1])


def test_prose_is_kept_and_the_same_bytes_come_again(tmp_path, light):
    page = tmp_path / "measured.md"
    page.write_text(
        "# A\n\n<!-- table noise -->\nold\n<!-- end -->\nB\n<!-- table regression --><!-- end -->\n"
        "<!-- table real --><!-- end -->\n\nC\n".replace(" --><!", " -->\n<!")
    )
    (tmp_path / "measured.json").write_text(json.dumps(MEASURED))
    assert sorted(path.name for path in write_documents(tmp_path)) == sorted(WRITTEN)
    text = page.read_text()
    assert "old" not in text and text.startswith(
        "# A\n\n<!-- table noise -->\n\n`yoda-nb rebuild numbers`, on an abacus"
    )
    assert "\nB\n" in text and text.endswith("\nC\n")
    assert "| d | T | 3 | 0.973 ± 0.003 | 31.1 ± 0.8 |" in text
    assert "| d | s\\|1 | 0.0435 | 0.0402 | 0.014 | 0.924 | 0.986 | 0.991 |" in text
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    write_documents(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("text", ["no markers", "<!-- table noise -->\n<!-- end -->", "<!-- table regression -->\n"])
def test_a_page_that_lost_its_markers_is_refused_and_nothing_is_written(tmp_path, light, text):
    (tmp_path / "measured.md").write_text(text)
    with pytest.raises(InputError, match=r"measured\.md must hold .* noise"):
        write_documents(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["measured.md"]
    assert (tmp_path / "measured.md").read_text() == text


@pytest.mark.parametrize("lost", ["commit", "samples"])
def test_measured_numbers_that_lack_something_are_refused(lost):
    with pytest.raises(InputError, match=lost):
        measured_tables({k: v for k, v in MEASURED.items() if k != lost})


def test_no_cell_breaks_a_table():
    assert documents.table(("a|b", "c"), [(None, "x\ny | z"), (1000, 2.5)]).splitlines() == [
        "| a\\|b | c |",
        "| --- | --- |",
        "| - | x y \\| z |",
        "| 1,000 | 2.5 |",
    ]


# ---- what people write


def test_the_readme_is_short_and_counts_the_verdicts():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert f"{len(findings())} claims" in text and counted(f.verdict for f in findings()) in text
    assert f"lists {len(SYSTEMS)} rows" in text
    assert CAUTION in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_point_to_what_is_there(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"https?://|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    text = prose(page).replace("\\\n", " ")
    code = re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    for line in (line.partition("#")[0] for block in code for line in block.splitlines()):
        for words in re.findall(r"(?:^|&& )(?:.*-m yoda_nb|yoda-nb)((?: \S+)+)", line):
            named = [word for word in words.split() if re.fullmatch(r"[a-z]+(?:-[a-z]+)?", word)]
            known = options_of(named[:2])
            used = {word for word in words.split() if re.match(r"--?[a-z]", word)}
            assert used <= known, f"{page.name}: {line.strip()}: no option {used - known}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {word for block in code for word in re.findall(r"(?:^|\n)make ([a-z]+)", block)}
    assert asked <= targets, f"{page.name}: make {asked - targets}"


def test_the_five_lines_name_what_is_there():
    (lines,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    compile(lines, "README.md", "exec")
    names = set(re.findall(r"yn\.(\w+)", lines))
    assert len(lines.splitlines()) <= 5 and names and all(hasattr(yoda_nb, name) for name in names)


def test_the_guide_lists_every_notebook():
    text = (DOCS / "guide.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    assert listed == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert BLOCK.search(text) is None


def test_the_hooks_before_a_commit_are_the_commands_of_make_lint():
    (hooks,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    names = dict(re.findall(r"^(\w+) +:= (.+)$", makefile, re.MULTILINE))
    recipe = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    for _ in range(2):  # BIN names VENV
        recipe = re.sub(r"\$\((\w+)\)", lambda m: names.get(m[1], m[0]), recipe)
    for hook in hooks["hooks"]:
        assert hook["language"] == "system" and hook["entry"] in recipe, hook["id"]
