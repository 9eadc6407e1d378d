"""What is killed: each job of the package on inputs that are small enough to be done in seconds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from yoda_nb.cli import app
from yoda_nb.data.rows import COLUMNS
from yoda_nb.images.nifti import Grid, write_image
from yoda_nb.images.volumes import Volume, save_image
from yoda_nb.nets.models import save_model
from yoda_nb.nets.monai_unet import MonaiUNetConfig
from yoda_nb.phantoms.phantom import phantom_case

HOST = "https://localhost/"
GROWING = ("checkpoint.pt", "log.jsonl", "index.html", "made.html", "claims.json", "claims.html", "reproduces.html")


@dataclass(frozen=True)
class Job:
    """``prepare`` makes a folder of inputs, ``run`` reads it and writes a folder of outputs; both in children.

    ``growing``: endings of files that are replaced while the job goes on, whole at any time; every other file appears
    once. ``spare``: what an unwritable folder does not stop.
    """

    name: str
    share: int  # of the kills, relative to the others
    prepare: Callable[[Path], None]
    run: Callable[[Path, Path], None]
    growing: tuple[str, ...] = ()
    spare: bool = False


def shell(*words: Any) -> None:
    """A command of yoda-nb; raises SystemExit as the program does."""
    app([str(word) for word in words])


def _nothing(inputs: Path) -> None:
    pass


# training


def train(inputs: Path, out: Path) -> None:
    """Eight steps of a row of the table, with a checkpoint after every second."""
    from yoda_nb.systems import training_data
    from yoda_nb.training import recipes

    fit, training_data.VALIDATION = recipes.fit, 1
    recipes.fit = lambda *args, **named: fit(*args, **{**named, "checkpoint_every": 2})
    words = {"row": "yoda", "phantoms": 2, "spacing": 6, "steps": 8, "batch-size": 2, "window": 16, "warmup": 2}
    options = [word for name, value in words.items() for word in (f"--{name}", value)]
    shell(
        "train", "--save", out / "m.safetensors", "--out", out / "run", "--no-label-maps", "--device", "cpu", *options
    )


# fetch


def prepare_fetch(inputs: Path) -> None:
    """Four files on a server and the manifest that lists them."""
    rows = []
    (inputs / "served").mkdir()
    for k in range(4):
        data = np.random.default_rng(k).bytes(200_000)
        (inputs / "served" / f"{k}.nii.gz").write_bytes(data)
        cells = ["far", f"s{k}", "test", "T1w", f"{HOST}{k}.nii.gz", sha256(data).hexdigest(), "CC0", "here", "n/a"]
        rows.append(",".join(cells))
    (inputs / "manifest.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")


def fetch(inputs: Path, out: Path) -> None:
    """Download from a slow server on this machine, which stands in for the host of the manifest."""
    import pooch

    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(inputs / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    download, here = pooch.HTTPDownloader(progressbar=False), f"http://127.0.0.1:{server.server_port}/"
    pooch.HTTPDownloader = lambda: lambda url, file, _: download(url.replace(HOST, here), file, None)
    os.environ["YODA_NB_DATA"] = str(out)
    shell("data", "fetch", "--manifest", inputs / "manifest.csv", "--json")


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = (folder / self.path.strip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for start in range(0, len(data), 20_000):
                self.wfile.write(data[start : start + 20_000])
                time.sleep(0.01)

        def log_message(self, *_: Any) -> None:
            pass

    return Slow


# files of subjects


def _quick_pictures() -> None:
    """Pages with empty pictures: drawing takes most of the time and writes nothing."""
    from matplotlib.figure import Figure

    Figure.savefig = lambda self, file, **_: file.write(b"a picture")


def _subject(seed: int) -> Volume:
    return phantom_case(seed, spacing=6.0, shape=(30, 36, 30))


def prepare_scans(inputs: Path) -> None:
    """A subject whose two contrasts lie on grids of their own."""
    v = _subject(1)
    affine = v.affine.copy()
    affine[:3, 3] += (3.0, -2.0, 1.0)
    d, h, w = v.shape
    for name, image, where in (("t1", v.source[0], v.affine), ("t2", v.source[1], affine)):
        write_image(400 * (image.numpy() + 1), Grid((d, h, w), where), inputs / f"{name}.nii.gz")


def prepare(inputs: Path, out: Path) -> None:
    import SimpleITK

    _quick_pictures()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    files = ("--t1", inputs / "t1.nii.gz", "--t2", inputs / "t2.nii.gz")
    shell("prepare", *files, "-o", out / "prepared", "--keep", out / "kept", "--spacing", 6, "--no-bias", "--json")


def prepare_study(inputs: Path) -> None:
    """Two subjects in BIDS and a model for them."""
    for seed in (1, 2):
        v = _subject(seed)
        folder = inputs / "study" / f"sub-0{seed}" / "anat"
        folder.mkdir(parents=True)
        images = (
            dict(zip((*v.sources, v.contrast), (*v.source, v.target[0]), strict=True)) if v.target is not None else {}
        )
        for name, image in images.items():
            save_image(image[None], replace(v, grid=None), folder / f"sub-0{seed}_{name}.nii.gz")
    (inputs / "study" / "dataset_description.json").write_text('{"Name": "two", "BIDSVersion": "1.10.0"}')
    config = MonaiUNetConfig((8, 16), (False, True), 1, 8, 4, n_sources=2, thickness=3)
    card = {"sources": ["T1w", "T2w"], "target": "FLAIR", "spacing_mm": 6.0, "schedule": "linear"}
    card |= {"n_train": 1000, "prediction": "v", "training": {"seed": 0}}
    torch.manual_seed(0)
    save_model(config.build(), inputs / "net.safetensors", config=config, card=card)


def translate_all(inputs: Path, out: Path) -> None:
    _quick_pictures()
    model = ("--model", inputs / "net.safetensors", "--device", "cpu")
    shell("translate-all", inputs / "study", "-o", out, *model, "--json")


def sweep(inputs: Path, out: Path) -> None:
    """Two subjects by one system with two seeds, in this process."""
    words = ("--study", inputs / "study", "--system", "yoda-regression", "--model", inputs / "net.safetensors")
    shell("sweep", *words, "--seeds", "0,1", "--workers", 0, "--device", "cpu", "-o", out, "--json")


# report


def prepare_notebooks(inputs: Path) -> None:
    """Two notebooks of the profile tiny, each with a cell that takes a while."""
    for name in ("01_one", "02_two"):
        cells = [
            new_markdown_cell(f"# {name}\n\n**How much is it?**"),
            new_code_cell('profile = "quick"  # tiny, quick or full', metadata={"tags": ["parameters"]}),
            new_code_cell("import time\ntime.sleep(0.5)\nprint(profile, sum(range(1000)))"),
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        for k, cell in enumerate(cells):
            cell["id"] = f"{name}-{k}"
        nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), inputs / f"{name}.ipynb")


def report(inputs: Path, out: Path) -> None:
    from yoda_nb.report import provenance

    provenance.package_hash = lambda: "fixed"  # others may edit the package meanwhile
    names = ",".join(str(path) for path in sorted(inputs.glob("*.ipynb")))
    shell("report", "--notebooks", names, "--profile", "tiny", "--jobs", 2, "-o", out)


# bank


def bank(inputs: Path, out: Path) -> None:
    """Thirty entries, one after the other."""
    from yoda_nb import store as room

    room.sampling_version = lambda: {}
    for k in range(30):
        found = room.recall(room.Bank(out), {"n": k}, lambda k=k: {"x": _sampled(k)})
        if not torch.equal(found["x"], _sampled(k)):
            raise ValueError(f"entry {k} holds other values")


def _sampled(k: int) -> torch.Tensor:
    return torch.randn(60_000, generator=torch.Generator().manual_seed(k))


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("train", 7, _nothing, train, ("checkpoint.pt", "log.jsonl")),
        Job("fetch", 12, prepare_fetch, fetch),
        Job("prepare", 6, prepare_scans, prepare),
        Job("report", 6, prepare_notebooks, report, GROWING),
        Job("bank", 14, _nothing, bank, spare=True),
        Job("translate-all", 6, prepare_study, translate_all),
        Job("sweep", 7, prepare_study, sweep, ("journal.jsonl", "table.parquet")),
    )
}
