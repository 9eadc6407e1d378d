"""An installed wheel works in an empty folder, without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 48e6  # bytes, of which 44 million are models
PACKED = "yoda_nb/data/packed"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the installed wheel; what it depends on is the tests' own."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-compile", "--target", str(folder)]
    subprocess.run([*pip, *options, str(wheel)], check=True, capture_output=True, text=True)
    return folder


@pytest.fixture
def run(installed, tmp_path, monkeypatch):
    """``run(*words)``: Python with the wheel's package, in an empty folder; returns what it printed."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(installed), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("YODA_NB_DATA", raising=False)
    empty = tmp_path / "empty"
    empty.mkdir()

    def python(*words: str) -> str:
        command = [sys.executable, "-P", *words]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    def shell(*words: str) -> str:
        return python("-m", "yoda_nb", *words)

    shell.python, shell.folder = python, empty
    return shell


def test_the_wheel_holds_the_package_and_what_lies_beside_it_in_a_checkout(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    package = {
        path.relative_to(ROOT).as_posix()
        for name in ("yoda_nb", "yoda_papers")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    packed = {f"{PACKED}/{name}" for name in ("claims.csv", "data_manifest.csv", "notebooks/glossary.md")}
    packed |= {f"{PACKED}/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    metadata = {name for name in files if name.split("/")[0].endswith(".dist-info")}
    assert files - metadata == package | packed
    assert wheel.stat().st_size <= LARGEST, f"{wheel.stat().st_size / 1e6:.1f} MB"


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_a_built_archive_holds_no_stray_file(target, tmp_path):
    """A small checkout with the same build files, as Jupyter and Python leave it."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "claims.csv", "data_manifest.csv"):
        shutil.copy(ROOT / name, tmp_path / name)
    good = ["yoda_nb/__init__.py", "yoda_nb/errors.py", "notebooks/01.ipynb"]
    stray = ["yoda_nb/__pycache__/a.pyc", "yoda_nb/.a.lock", "yoda_nb/.ipynb_checkpoints/a.py"]
    stray += ["notebooks/.ipynb_checkpoints/01-checkpoint.ipynb", "notebooks/.01.ipynb"]
    for name in [*good, *stray]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('__version__ = "1"')
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    (built,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(built) if target == "wheel" else tarfile.open(built) as archive:
        names = archive.namelist() if target == "wheel" else archive.getnames()
    assert any(name.endswith("01.ipynb") for name in names) and any(name.endswith("errors.py") for name in names)
    assert not [name for name in names for part in stray if name.endswith(part.partition("/")[2])]


def test_an_editable_install_has_no_copies():
    """What a wheel packs would only grow old beside a checkout that changes."""
    files = distribution("yoda-nb").files or ()
    assert not [file for file in files if "packed" in file.parts or file.suffix == ".ipynb"]


def test_the_package_is_the_installed_one(run, installed):
    program = "import yoda_nb; from yoda_nb.data import places as p; print(yoda_nb.__file__, p.MANIFEST, p.CLAIMS)"
    paths = [Path(word) for word in run.python("-c", program).split()]
    assert len(paths) == 3 and all(path.is_relative_to(installed) and path.is_file() for path in paths)


def test_manifest_claims_and_systems_are_found(run):
    assert "phantom" in run("data", "list")
    (claim,) = json.loads(run("claims", "Y20", "--json"))
    assert claim["verdict"] == "reproduced" and claim["shipped"] == ["targets"]
    assert "yoda-regression" in run("systems")
    assert "Voilà" in run("class", "--help")
    assert not list(run.folder.iterdir())


def test_lessons_are_copied(run):
    run("notebooks", "lessons")
    run("notebooks", "students", "--student")
    for folder in ("lessons", "students"):
        names = {path.name for path in (run.folder / folder).iterdir()}
        assert names == {"glossary.md", *(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))}


def test_a_model_is_trained(run):
    words = "--no-label-maps --phantoms 2 --spacing 6 --steps 2 --batch-size 2 --window 32 --out run"
    run("train", *words.split(), "--save", "mine.safetensors")
    card = json.loads((run.folder / "mine.json").read_text())
    assert card["training"]["steps"] == 2 and (run.folder / "mine.safetensors").is_file()


def test_a_report_is_written(run, installed):
    before = {path for path in installed.rglob("*") if "__pycache__" not in path.parts}
    run("report", "--notebooks", "01_data_and_noise", "--profile", "tiny", "-o", "site")
    pages = {path.name: path.read_text(encoding="utf-8") for path in (run.folder / "site").glob("*.html")}
    assert {"index.html", "01_data_and_noise.html"} <= pages.keys()
    assert any("not a git checkout" in page for page in pages.values())
    assert {path for path in installed.rglob("*") if "__pycache__" not in path.parts} == before, (
        "nothing is written there"
    )


def test_downloads_do_not_land_in_the_package(run, tmp_path):
    rows = json.loads(run("data", "check", "synthseg", "--json"))
    assert rows and {row["status"] for row in rows} == {"missing"}
    assert all(Path(row["where"]).is_relative_to(tmp_path / "cache") for row in rows)
