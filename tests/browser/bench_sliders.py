"""How soon an explorer answers: milliseconds from an input event until its frame is painted.

Run ``python tests/browser/bench_sliders.py`` on a machine with Chromium and playwright (``pip install
playwright``; ``YODA_NB_BROWSER`` names another browser). It writes a page with the six explorers of
one phantom, opens it from disk, moves each explorer's first control 50 times, and the slice as
often, and prints a table. The aim is a 95th percentile of at most 50 ms.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from playwright.sync_api import sync_playwright
from torch import Tensor

from yoda_nb.figures import explorers
from yoda_nb.figures.explorers import page as pages
from yoda_nb.phantoms.phantom import phantom_case

MOVES, AIM = 50, 50.0
NAMES = ("volumes", "tradeoff", "trajectory", "expa", "noise", "live")
# A frame is on the screen once the task after its drawing runs: requestAnimationFrame comes before
# style, layout and paint, and a message posted from it is delivered after them.
MOVE = """async (input, [moves, event]) => {
    const pause = () => new Promise(done => setTimeout(done, 30))
    const painted = () => new Promise(done => requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel()
        port1.onmessage = () => done(performance.now())
        port2.postMessage(0)
    }))
    const size = input.options ? input.options.length : Number(input.max) + 1, found = []
    for (let k = 0; k < moves; k++) {
        await pause()
        input.value = (Number(input.value) + 1) % size
        const start = performance.now()
        input.dispatchEvent(new Event(event, { bubbles: true }))
        found.push(await painted() - start)
    }
    return found
}"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "explorers.html"
        pages.save([(explorer, "An explorer to be timed.", "") for explorer in six()], path)
        executable = os.environ.get("YODA_NB_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        page.locator("form.yx").nth(len(NAMES) - 1).wait_for()
        rows = [row for k, name in enumerate(NAMES) for row in measured(page.locator("form.yx").nth(k), name)]
        table = pd.DataFrame(rows).set_index(["explorer", "control"])
        print(f"Chromium {browser.version}, {path.stat().st_size / 1e6:.1f} MB page; milliseconds of {MOVES} moves")
        print(table.round(1).to_string())
        print(f"aim, p95 of at most {AIM:g} ms: {'met' if (table.p95 <= AIM).all() else 'MISSED'}")
        browser.close()


def measured(form, name: str) -> list[dict]:
    """Response times of an explorer's first control and of its slice."""
    form.scroll_into_view_if_needed()
    first = form.locator("select, input[type=range]").first
    rows = []
    for control in (first, form.locator("input[name=slice]")):
        event = "change" if control.evaluate("node => node.tagName") == "SELECT" else "input"
        times = control.evaluate(MOVE, [MOVES, event])
        p50, p95 = np.percentile(times, [50, 95])
        rows.append(
            {"explorer": name, "control": control.get_attribute("name"), "p50": p50, "p95": p95, "max": max(times)}
        )
    return rows


def six() -> list[explorers.Explorer]:
    """The six explorers with as many images as the notebooks show; noise stands in for sampling."""
    v = phantom_case(1)
    samples = torch.stack([noisy(v.clean, v.mask, 0.04, k) for k in range(10)])
    names = ("regression", "DDIM 4", "DDIM 8", "DDIM 16", "ExpA 4", "ExpA 10", "noised 1", "diffusion")
    images = dict(zip(names, samples, strict=False))
    table = pd.DataFrame({"sampler": names, "ssim": np.linspace(0.9, 0.8, 8), "fd": np.linspace(30, 3, 8)})
    steps = [
        {
            "t": 999 - 50 * k,
            "s": 949 - 50 * k if k < 19 else -1,
            "view": k % 3,
            "noise_level": 1 - k / 20,
            "x": noisy(v.clean, v.mask, 0.5 - k / 50, k),
            "x0": samples[k % 10],
            "mask": v.mask,
            "clean": v.clean,
        }
        for k in range(20)
    ]
    shown = {"acquired": v.target, "truth": v.clean, **dict(list(images.items())[:4])}
    return [
        explorers.volumes(shown, v.mask, reference="truth", lesions=v.lesions),
        explorers.tradeoff(table, {**images, "truth": v.clean}, v.mask, reference="truth"),
        explorers.trajectory(steps),
        explorers.expa(samples, v.mask, regression=v.clean, sigma=0.04),
        explorers.noise(v.clean, np.linspace(0, 0.08, 9), v.mask, target=v.target, clean=v.clean),
        explorers.live(v, images={"diffusion": images["diffusion"]}),
    ]


def noisy(image: Tensor, mask: Tensor, sigma: float, seed: int) -> Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(mask, (image + 2 * sigma * noise).clamp(-1, 1), -1.0)


if __name__ == "__main__":
    main()
