"""The names that most users need, each imported at its first use."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

import yoda_nb


def in_a_new_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", yoda_nb.__all__)
def test_every_name_of_the_front_door_is_there(name):
    assert callable(getattr(yoda_nb, name)) and name in dir(yoda_nb)


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="has no attribute 'translat'"):
        _ = yoda_nb.translat


def test_importing_the_package_imports_nothing_heavy_until_a_name_is_used():
    heavy = "print([n for n in ('torch', 'numpy', 'nibabel', 'pandas', 'monai') if n in sys.modules])"
    program = f"import sys, yoda_nb; {heavy}; yoda_nb.InputError; {heavy}; yoda_nb.translate; {heavy}"
    first, second, third = in_a_new_process(program).splitlines()
    assert first == second == "[]" and "'torch'" in third


def test_systems_is_a_module_and_its_own_table():
    table = yoda_nb.systems()
    assert isinstance(table, pd.DataFrame) and list(table.index) == list(yoda_nb.systems.SYSTEMS)
    assert in_a_new_process("import yoda_nb as yn; print(len(yn.systems()))") == str(len(table))
    assert in_a_new_process("from yoda_nb import systems; print(len(systems()))") == str(len(table))
