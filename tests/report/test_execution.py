"""How many notebooks run at a time, in which order, with how many threads."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_notebook
from reports import code, write

from yoda_nb import report
from yoda_nb.report import execution, kernels, run_report
from yoda_nb.report.tasks import Task


@pytest.mark.parametrize(("cores", "jobs", "threads"), [(2, 2, "1"), (16, 4, "4"), (2, 4, "1"), (2, 1, None)])
def test_kernels_share_the_threads(tmp_path, monkeypatch, cores, jobs, threads):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kernels, "cores", lambda: cores)
    with kernels.kernel_environment(tmp_path, jobs) as environment:
        assert {environment.get(name) for name in names} == {threads}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with kernels.kernel_environment(tmp_path, jobs) as environment:
        assert environment["OMP_NUM_THREADS"] == "7", "what the user asks for stands"


def test_what_took_longest_starts_first_and_results_keep_their_order(tmp_path, monkeypatch):
    started = []

    def run(task, *_):
        started.append(task.name)
        return task.name

    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, seconds in (("short", 1.0), ("long", 99.0)):
        recorded = new_notebook(metadata={"yoda_nb": {"fingerprint": "old", "seconds": seconds}})
        nbformat.write(recorded, folder / f"{name}.ipynb")
    (folder / "broken.ipynb").write_text("{")
    monkeypatch.setattr(execution, "_run", run)
    names = ["short", "new", "long", "broken"]
    tasks = [Task(name, tmp_path / f"{name}.ipynb", {}) for name in names]
    assert execution.run_notebooks(tasks, folder, jobs=1) == names
    assert started == ["new", "broken", "long", "short"]


def test_names_of_the_reports_own_pages_are_refused(tmp_path):
    for name in ("index", "claims", "glossary", "made", "reproduces"):
        with pytest.raises(report.InputError, match=r"rename one"):
            run_report([write(tmp_path, name, code("1"))], tmp_path / "out")
