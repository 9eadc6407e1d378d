"""The hash of the code behind a function: what counts, and what does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from yoda_nb.metrics.images import psnr, ssim
from yoda_nb.study import code
from yoda_nb.study.claims import evidence

FILES = {
    "__init__.py": "",
    "top.py": '''
"""A module."""
from small import middle
from small.middle import helper as helped
from small.shop import Ware
FACTOR = 2
LIST = [1]
LIST += [2]

def root(x: int) -> int:
    """What it does."""
    # a comment
    from small.late import later
    return helped(x) * FACTOR + middle.other(x) + later(x) + Ware().price() + LIST[0]

def unrelated():
    return 1
''',
    "middle.py": """
from small.bottom import deep

def helper(x):
    return deep(x) + 1

def other(x):
    return x - 1

def nobody(x):
    return x
""",
    "bottom.py": """
STEP = 3

def deep(x):
    return x + STEP
""",
    "late.py": """
def later(x):
    return x
""",
    "shop/__init__.py": "from small.shop.wares import Ware\n",
    "shop/wares.py": '''
class Ware:
    """A ware."""

    def price(self) -> int:
        return 7
''',
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A package of its own; gives the hash of ``top.root`` with some files changed."""
    package = tmp_path / "small"
    monkeypatch.setattr(code, "PACKAGE", package)
    caches = (code._file, code._module)

    def hashed(**changes: tuple[str, str]) -> str:
        for name, text in FILES.items():
            path = package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            key = name.removesuffix(".py").replace("/", "_")
            if key in changes:
                old, new = changes[key]
                assert old in text
                text = text.replace(old, new)
            path.write_text(text)
        for cached in caches:
            cached.cache_clear()
        return code.code_hash([SimpleNamespace(__module__="small.top", __qualname__="root")])

    yield hashed
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize(
    "change",
    [
        {"top": ('"""What it does."""', '"""Something else."""')},
        {"top": ("    # a comment\n", "")},
        {"top": ("x: int) -> int", "x)")},
        {"top": ("FACTOR = 2", "FACTOR: int = 2")},
        {"top": ('"""A module."""', '"""Another."""')},
        {"top": ("FACTOR = 2", "\n\nFACTOR = (2)")},
        {"top": ("    return 1", "    return 2")},  # of a function that nobody calls
        {"middle": ("    return x\n", "    return -x\n")},
        {"shop_wares": ('    """A ware."""\n', "")},
        {"bottom": ("STEP = 3", "OTHER = 9\nSTEP = 3")},
    ],
    ids=[
        "docstring",
        "comment",
        "annotations",
        "annotated constant",
        "docstring of the module",
        "layout",
        "unrelated function",
    ]
    + ["unrelated function elsewhere", "docstring of a class", "unrelated constant"],
)
def test_what_changes_nothing_does_not_count(small, change):
    assert small() == small(**change)


@pytest.mark.parametrize(
    "change",
    [
        {"top": ("FACTOR = 2", "FACTOR = 3")},
        {"top": ("LIST += [2]", "LIST += [3]")},
        {"top": ("* FACTOR", "+ FACTOR")},
        {"middle": ("+ 1", "+ 2")},
        {"middle": ("x - 1", "x - 2")},
        {"bottom": ("STEP = 3", "STEP = 4")},
        {"bottom": ("x + STEP", "x - STEP")},
        {"late": ("return x", "return 2 * x")},
        {"shop_wares": ("return 7", "return 8")},
    ],
    ids=["constant", "constant built in parts", "the function", "function under another name"]
    + ["attribute of a module", "constant of a called function", "called function", "import within a function"]
    + ["method of a class through a package"],
)
def test_what_can_change_a_result_counts(small, change):
    assert small() != small(**change)


def test_functions_of_the_package_have_hashes_of_their_own():
    assert code.code_hash([psnr]) == code.code_hash([psnr]) != code.code_hash([ssim])
    assert code.code_hash([psnr, ssim]) == code.code_hash([ssim, psnr]) not in (code.code_hash([psnr]), "")


HASHED = """
import ast, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("code_by_path", sys.argv[1])
code = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(code)
asked = json.load(sys.stdin)
tables = {name: code.hash_of(map(tuple, places)) for name, places in asked["tables"].items()}
odd = [code.text_of(code._bare(node)) for node in ast.parse(asked["odd"]).body]
print(json.dumps({"version": sys.version_info[:2], "tables": tables, "odd": odd}))
"""
ODD = """
f"a{x!r:>{w}.2f}" "b" f"{y=}" f"{z:}" f"" u"k"
f'{a["k"]}' rf"\\d{x}" f"{x:%Y-%m}" f"{{}}" f"{f'{q}'}z"
def f(x=None, *, y, z=1, **k) -> int: return {**x, "a": lambda: ...}
async def g(x: int): "What it does."; await x
class A(B, metaclass=C): a: int; b: int = 3
match x:
    case {"a": [1, *_], **rest}: pass
"""


def interpreters() -> list[str]:
    """Python 3.11, 3.12 and 3.13, as far as they are on this machine."""
    installed = sorted(Path.home().glob(".pyenv/versions/*/bin/python"))
    pythons = []
    for version in ("3.11", "3.12", "3.13"):
        own = [str(path) for path in installed if path.parts[-3].startswith(f"{version}.")]
        pythons += [shutil.which(f"python{version}") or "", *own]
    return [sys.executable, *filter(None, pythons)]


def test_every_version_of_python_gives_the_same_hashes():
    """Those of the code behind every shipped table, and of syntax that versions parse differently."""
    index = evidence.index()
    places = {name: sorted(evidence.places_behind(name, about["weights"])) for name, about in index.items()}
    asked, found = json.dumps({"tables": places, "odd": ODD}), {}
    for python in interpreters():
        done = subprocess.run([python, "-c", HASHED, code.__file__], input=asked, capture_output=True, text=True)
        if done.returncode and python != sys.executable:
            continue  # a launcher without its interpreter
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        found[tuple(answer.pop("version"))] = answer
    one, *others = found.values()
    assert len(one["tables"]) == len(index) and all(answer == one for answer in others)
    if not others:
        pytest.skip(f"only one version of Python is here: {next(iter(found))}")
