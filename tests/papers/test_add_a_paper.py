"""A paper of somebody else's package: the example of docs/architecture.md, installed in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CLAIMS = "id,paper,where,claim,how_to_test,notebook\nL01,line,Fig. 1,A straight line is there,its PSNR,\n"
PROGRAM = """
import json
from pathlib import Path
import yoda_nb as yn
import yoda_nb.training.recipes as recipes
from yoda_nb.systems.papers import PAPERS, SYSTEMS, TRAININGS
from yoda_nb.systems.train import train_systems
from yoda_papers.ledger import Study, find
from yoda_papers.ledger.evidence import index, outdated

state = {"before": yn.systems().loc["line", "state"], "paper": SYSTEMS["line"].paper, "papers": list(PAPERS)}
recipes.training_phantoms.__kwdefaults__["shape"] = (20, 24, 20)  # a small field of view: seconds, not minutes
recipes.training_phantoms.__kwdefaults__["spacing"] = 9.0
object.__setattr__(TRAININGS["line"], "count", 2)
config = TRAININGS["line"].config
for name, value in {"steps": 300, "window": 16, "lr": 0.05}.items():
    object.__setattr__(config, name, value)
train_systems(["line"], out=Path("runs"))
state["after"] = yn.systems().loc["line", "state"]
volume = yn.phantom_case(1)
state["psnr"] = yn.evaluate(volume, yn.translate(volume, "line"))["psnr"]
(finding,) = find(["L01"], study=Study("tiny"))
state["verdict"], state["value"], state["title"] = finding.verdict, finding.effects[0].value, finding.document()["title"]
state["outdated"] = [name for name in index() if outdated(name)]
print(json.dumps(state))
"""


def install(folder: Path, name: str, entry: str) -> None:
    """What an installer leaves of a distribution: its name, and its entry point."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[yoda_nb.papers]\n{entry}\n")


def run(program: str, site: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder of packages with the example's paper installed."""
    folder = tmp_path / "site"
    install(folder, "straight-line", "line = line_paper")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if b.startswith("# line_paper")]
    package = folder / "line_paper"
    package.mkdir()
    (package / "__init__.py").write_text(block, encoding="utf-8")
    (package / "claims.csv").write_text(CLAIMS)
    return folder


def test_the_example_is_listed_trained_run_and_judged(site, tmp_path):
    done = run(PROGRAM, site, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    state = json.loads(done.stdout.splitlines()[-1])
    assert (state["before"], state["after"], state["paper"]) == ("not trained", "ready", "line")
    assert state["papers"][0] == "yoda" and state["papers"][-1] == "line"
    assert state["psnr"] > 5 and state["value"] > 5 and state["verdict"] == "reproduced"
    assert state["title"] == "a straight line"
    assert (site / "line_paper" / "weights" / "systems" / "line.safetensors").is_file()
    assert state["outdated"] == [], "adding a paper outdates no evidence"


def test_a_paper_that_cannot_be_imported_is_named_with_its_package(tmp_path):
    install(tmp_path / "site", "broken-paper", "broken = there_is_no_such_module")
    done = run("from yoda_nb.cli import app; app(['systems'])", tmp_path / "site", tmp_path)
    assert done.returncode != 0
    assert "The paper 'broken' (there_is_no_such_module, from broken-paper) cannot be imported" in done.stderr
