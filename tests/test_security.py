"""What SECURITY.md promises of the code: nothing is unpickled, unpacked, evaluated or given to a shell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
UNPICKLERS = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNPACKERS = {"tarfile"}  # zipfile: only read in place, below
RUNNERS = {"eval", "exec", "compile", "__import__"}
OWN = {"yoda_nb/study/exercises.py"}  # runs cells of the package's own lessons
BETWEEN = {"yoda_nb/training/processes.py"}  # results of the package's own workers, as multiprocessing sends them
SHELLS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "yoda_nb").rglob("*.py"))
}


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """(what is called as it is written, the call)."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), None)


@pytest.mark.parametrize("name", TREES)
def test_no_file_is_unpickled_unpacked_evaluated_or_given_to_a_shell(name):
    tree = TREES[name]
    assert not imports(tree) & ((UNPICKLERS - {"pickle"} if name in BETWEEN else UNPICKLERS) | UNPACKERS)
    for called, call in calls(tree):
        last = called.rpartition(".")[2]
        assert called not in SHELLS | (set() if name in OWN else RUNNERS), f"line {call.lineno}: {called}"
        assert last not in {"unpack_archive", "extractall", "extract"}, f"line {call.lineno}: {called}"
        assert keyword(call, "shell") in (None, "False"), f"line {call.lineno}: {called}"
        if called == "torch.load":
            assert keyword(call, "weights_only") == "True", f"line {call.lineno}"
        if last in {"load", "memmap"} and called.startswith(("np.", "numpy.")):
            assert keyword(call, "allow_pickle") in (None, "False"), f"line {call.lineno}"
        if last == "load" and called.startswith("yaml"):
            pytest.fail(f"line {call.lineno}: yaml.safe_load")


def test_the_rule_itself_sees_what_it_forbids():
    bad = ast.parse("import pickle\nsubprocess.run(x, shell=True)\neval(y)\ntorch.load(f)\nshutil.unpack_archive(z)")
    assert imports(bad) & UNPICKLERS
    found = dict(calls(bad))
    assert keyword(found["subprocess.run"], "shell") == "True" and keyword(found["torch.load"], "weights_only") is None
    assert "eval" in found and "shutil.unpack_archive" in found


def test_the_page_names_limits_and_files_that_are_so():
    from yoda_nb.report.class_server import LARGEST_MESSAGE

    assert f"at most {LARGEST_MESSAGE // 2**10} KiB" in PAGE
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / link).is_file(), link
