"""What a folder holds under final names, without what the clock says: two runs of one job are then alike."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

CLOCK = (
    "seconds",
    "last_log.seconds",
    "date",
    "start_time",
    "end_time",
    "duration",
    "version",
    "papermill",
    "worker",
    "execution",
)
TIMES = re.compile(
    r'(?<=seconds</th><td class="number">)[^<]*|\d+(?:\.\d+)? (?:s|min)\b|\d{4}-\d\d-\d\d \d\d:\d\d UTC|\d+\.\d+ GiB'
)
REUSED = {", reused unchanged from an earlier report": "", "status reused": "status done", "✓ reused": "✓ executed"}
TIMED_PAGES = ("index.html", "made.html")  # of a report: they tell when it was made, on how much memory


def content(folder: Path) -> dict[str, str]:
    """Path -> hash of each file below a folder that has a final name."""
    return {name: digest(path, folder) for name, path in finals(folder).items()}


def finals(folder: Path) -> dict[str, Path]:
    """Path from the folder -> file, of all that are not hidden: unfinished files and locks are."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: path for name, path in found.items() if "/." not in f"/{name}" and "locks/" not in name}


def strays(folder: Path) -> list[str]:
    """Unfinished files, as ``atomic`` and a download name them."""
    return [path.name for path in folder.rglob(".*") if re.match(r"\.[0-9a-f]{32}-", path.name)]


def failed(path: Path) -> bool:
    """Whether it is a notebook that a report keeps to show where it failed, until it runs again."""
    return path.suffix == ".ipynb" and "yoda_nb" not in json.loads(path.read_bytes())["metadata"]


def digest(path: Path, folder: Path) -> str:
    """A hash of what a file holds; ValueError, or what its reader raises, for half a file."""
    data = path.read_bytes()
    kind = next((read for ending, read in READERS.items() if path.name.endswith(ending)), lambda data: data)
    return hashlib.sha256(kind(data.replace(str(folder).encode(), b"OUT"))).hexdigest()


def _document(data: bytes) -> bytes:
    return json.dumps(_timeless(json.loads(data)), sort_keys=True).encode()


def _notebook(data: bytes) -> bytes:
    """Without the names of cells, which are drawn, and what was made of them."""
    found = json.loads(data)
    found["metadata"].get("yoda_nb", {}).pop("sha256", None)
    found["cells"] = [{k: v for k, v in cell.items() if k != "id"} for cell in found["cells"]]
    return json.dumps(_timeless(found), sort_keys=True).encode()


def _lines(data: bytes) -> bytes:
    if data and not data.endswith(b"\n"):
        raise ValueError("the last line is cut")
    return b"\n".join(map(_document, data.splitlines()))


def _page(data: bytes) -> bytes:
    text = data.decode()
    if not text.rstrip().lower().endswith("</html>"):
        raise ValueError("the page is cut")
    for said, otherwise in REUSED.items():
        text = text.replace(said, otherwise)
    return TIMES.sub("TIME", text).encode()


def _checkpoint(data: bytes) -> bytes:
    """Every value of a checkpoint, bit for bit."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        if bad := file.testzip():
            raise ValueError(f"{bad} is damaged")
    return repr(_flat(_timeless(torch.load(io.BytesIO(data), weights_only=True)))).encode()


def _flat(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: _flat(item) for key, item in value.items()}
    return [_flat(item) for item in value] if isinstance(value, list | tuple) else value


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in CLOCK}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _tensors(data: bytes) -> bytes:
    """The header sorted, for its order is another in each process, and the bytes of the tensors."""
    size = int.from_bytes(data[:8], "little")
    return json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True).encode() + data[8 + size :]


def _table(data: bytes) -> bytes:
    return pd.read_parquet(io.BytesIO(data)).to_csv().encode()


READERS: dict[str, Callable[[bytes], bytes]] = {
    "checkpoint.pt": _checkpoint,
    ".jsonl": _lines,
    ".json": _document,
    ".ipynb": _notebook,
    ".html": _page,
    ".safetensors": _tensors,
    ".parquet": _table,
}
