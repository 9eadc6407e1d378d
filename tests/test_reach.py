"""A container, Binder and a forge's checks, read as they stand: one lock, files that exist, commands of the README."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = SpecifierSet(PROJECT["requires-python"])
WHEELS = "https://download.pytorch.org/whl/"
LOCK = "-c constraints.txt"


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of each instruction of the Dockerfile, its lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def copied() -> list[str]:
    return [source for rest in of("COPY") for source in rest.split()[:-1]]


def test_the_container_has_the_python_that_was_tested():
    (image,) = of("FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim", image)[1]
    assert f"{version}.99" in PYTHONS
    assert f"(Python {version})" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert (ROOT / "binder" / "runtime.txt").read_text() == f"python-{version}\n"


def test_the_container_copies_what_exists_and_is_not_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*" and let_in == set(copied())
    assert all((ROOT / source).exists() for source in copied())
    assert not any(fnmatch.fnmatch(name, "*.git*") for name in let_in)


def test_the_container_installs_from_the_lock_alone():
    order = [f"{name} {rest}" for name, rest in instructions()]
    installs = [index for index, line in enumerate(order) if "pip install" in line]
    first_copy = next(index for index, line in enumerate(order) if line.startswith("COPY constraints.txt"))
    assert len(installs) == 2 and first_copy < installs[0]
    assert all(LOCK in order[index] for index in installs)
    assert order[installs[0]].endswith(f"{WHEELS}${{TORCH}} torch") and order[installs[1]].endswith(" '.[scans]'")
    assert of("ARG") == ["TORCH=cpu"] and order.index("ARG TORCH=cpu") > order.index(f"FROM {of('FROM')[0]}")


def test_the_container_runs_as_a_user_who_is_not_root():
    words = [name for name, _ in instructions()]
    (user,) = of("USER")
    assert int(user) >= 1000 and f"--uid {user} " in " ".join(of("RUN"))
    assert words.index("USER") < words.index("CMD") and words.count("CMD") == 1
    after = instructions()[words.index("USER") :]
    assert not any("pip install" in rest or "apt-get" in rest for _, rest in after), "a user can install nothing there"


def test_what_the_container_copies_is_enough_for_a_wheel(tmp_path):
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "yoda_nb/data/packed/claims.csv" in names
    assert any(name.startswith("yoda_nb/data/packed/notebooks/") for name in names)


def test_binder_installs_from_the_same_lock():
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    index, lock, *packages = [line for line in lines if not line.startswith("#")]
    assert index == f"--extra-index-url {WHEELS}cpu"
    assert (ROOT / "binder" / lock.removeprefix("-c ")).resolve() == ROOT / "constraints.txt"
    assert packages == ["torch", "-e .[scans]"]
    assert sorted(path.name for path in (ROOT / "binder").iterdir()) == ["requirements.txt", "runtime.txt"]


# the forge's checks


@pytest.fixture(scope="module")
def workflow() -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))


def steps(job: dict, key: str) -> list:
    return [step[key] for step in job["steps"] if key in step]


def test_the_forge_runs_the_commands_of_the_readme(workflow):
    jobs = workflow["jobs"]
    assert {name: steps(job, "run") for name, job in jobs.items()} == {
        "lint": ["make lint"], "test": ["make test"], "report": ["make report"]
    }  # fmt: skip
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for job in jobs.values():
        (command,) = steps(job, "run")
        assert command in readme and command.removeprefix("make ") in targets
        assert job["timeout-minutes"] <= 120 and job["runs-on"] == "ubuntu-latest"


def test_the_forge_tests_every_python_that_is_supported(workflow):
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    assert versions == ["3.11", "3.12", "3.13"] and all(f"{version}.99" in PYTHONS for version in versions)
    assert "3.10.99" not in PYTHONS, "the first is the oldest"
    for job in workflow["jobs"].values():
        (setup,) = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
        assert setup["python-version"] in (*versions, "${{ matrix.python-version }}")
        assert setup["cache-dependency-path"] == "constraints.txt"


def test_the_forge_grants_nothing_but_reading(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    triggers = workflow[True]  # YAML 1.1 reads "on" so
    assert set(triggers) == {"push", "pull_request"}, "pull_request_target would run strangers' code with rights"
    actions = {action for job in workflow["jobs"].values() for action in steps(job, "uses")}
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in actions)
