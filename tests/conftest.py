"""For every test: no network, no file outside tmp_path, and real data only where it is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
OFFLINE = Path(__file__).parent / "offline"
sys.path.insert(0, str(OFFLINE))

import network_guard  # noqa: E402
import pytest  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--mirror", type=Path, default=None, help="local copy of the public data; see the manifest")


@pytest.fixture
def mirror(request) -> Path:
    """The folder given with ``--mirror``; skips the test without one."""
    folder = request.config.getoption("--mirror")
    if folder is None:
        pytest.skip("needs real data: give --mirror DIR")
    assert folder.is_dir(), f"--mirror {folder} is not a folder"
    return folder.resolve()


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path_factory):
    """No network in this process or in any it starts, and a bank of the test's own."""
    inherited = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(OFFLINE), inherited])))
    monkeypatch.setenv("YODA_NB_BANK", str(tmp_path_factory.getbasetemp() / f"bank-{os.getpid()}"))
    network_guard.refused.clear()
    yield
    if network_guard.refused:
        pytest.fail(f"the test asked for {network_guard.refused[0]}; tests run without a network")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """The path of an untrained net that answers with something other than zero."""
    import torch
    from small_models import CARD, CONFIG

    from yoda_nb.nets.models import save_model

    torch.manual_seed(0)
    net = CONFIG.build().eval()
    with torch.no_grad():
        net.out[-1].conv.weight.normal_(std=0.2)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(net, path, config=CONFIG, card=CARD | {"spacing_mm": 10.0})
    return str(path)


@pytest.fixture
def empty_tables(tmp_path, monkeypatch) -> Iterator[Path]:
    """Another folder of shipped tables, empty."""
    from yoda_papers.ledger import evidence

    tables = tmp_path / "tables"
    tables.mkdir()
    monkeypatch.setattr(evidence, "TABLES", tables)
    monkeypatch.setattr(evidence, "INDEX", tables / "index.json")
    caches = (evidence.index, evidence.outdated)
    for cached in caches:
        cached.cache_clear()
    yield tables
    for cached in caches:
        cached.cache_clear()
