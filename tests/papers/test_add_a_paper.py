"""The worked example of docs/architecture.md, executed as it stands there on a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PROGRAM = """
import json, sys
from pathlib import Path
import yoda_nb as yn
from yoda_nb.papers import SYSTEMS, TRAININGS
from yoda_nb.study.claims import Study, find
from yoda_nb.study.claims.evidence import index, outdated
from yoda_nb.systems.train import train_systems
import yoda_nb.training.recipes as recipes

state = {"before": yn.systems().loc["line", "state"], "paper": SYSTEMS["line"].paper}
recipes.training_phantoms.__kwdefaults__["shape"] = (20, 24, 20)  # a small field of view: seconds, not minutes
recipes.training_phantoms.__kwdefaults__["spacing"] = 9.0
object.__setattr__(TRAININGS["line"], "count", 2)
config = TRAININGS["line"].config
object.__setattr__(config, "steps", 300)
object.__setattr__(config, "window", 16)
object.__setattr__(config, "lr", 0.05)
train_systems(["line"], out=Path("runs"))
state["after"] = yn.systems().loc["line", "state"]
volume = yn.phantom_case(1)
state["psnr"] = yn.evaluate(volume, yn.translate(volume, "line"))["psnr"]
(finding,) = find(["L01"], study=Study("tiny"))
state["verdict"], state["value"] = finding.verdict, finding.effects[0].value
state["stale"] = [name for name in index() if outdated(name)]
print(json.dumps(state))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the checkout with the example's files written and its lines added."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "yoda_nb", root / "yoda_nb", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("claims.csv", "data_manifest.csv", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    for block in blocks("python"):
        path = re.match(r"# (yoda_nb/\S+\.py)\n", block)
        (root / path[1]).write_text(block, encoding="utf-8")
    (lines,) = blocks("diff")
    target, old = root, ""
    for line in lines.splitlines():
        if line[0] not in "+-":
            target, old = root / line, ""
        elif line[0] == "-":
            old = line[1:]
            assert old in target.read_text(), f"{target.name} has no line {old!r}: docs/architecture.md is out of date"
        else:
            text = target.read_text()
            target.write_text(text.replace(old, line[1:], 1) if old else text.rstrip("\n") + f"\n{line[1:]}\n")
    return root


def test_the_example_is_listed_trained_run_and_judged(house, tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(house), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    state = json.loads(done.stdout.splitlines()[-1])
    assert (state["before"], state["after"], state["paper"]) == ("not trained", "ready", "line")
    assert state["psnr"] > 5 and state["value"] > 5 and state["verdict"] == "reproduced"
    assert state["stale"] == [], "adding a paper makes no evidence stale"
