"""The moving picture of the README: an explorer of one phantom, its slider moved from start to end.

Run ``python docs/make/explorer.py`` on a machine with Chromium (``$YODA_NB_BROWSER`` names another browser). It writes
docs/explorer.webp.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

import yoda_nb as yn
from yoda_nb.figures import explorers

OUT = Path(__file__).parents[1] / "explorer.webp"
WIDTH, HEIGHT = 860, 620  # of the browser's window
SHOWN = 640  # width of the picture
STEPS = 32  # of the trajectory
MOVE = "(input, k) => { input.value = k; input.dispatchEvent(new Event('input', {bubbles: true})) }"
FRAME_MS, LAST_MS = 120, 1500  # how long a frame is shown, and the last one


def write_page(path: Path) -> None:
    """A page with the trajectory of one sample, from noise to image."""
    volume = yn.phantom_case(7)
    states = explorers.record_trajectory(volume, "yoda-ddim", n_steps=STEPS)
    explorers.trajectory(states).save(path, alt="A sample on its way from noise to an image.")


def move(page: Page) -> list[Image.Image]:
    """A screenshot for each position of the first slider."""
    form = page.locator("form.yx").first
    form.wait_for()
    slider = form.locator("input[type=range]").first
    positions = int(slider.get_attribute("max") or 0) + 1
    images = []
    for k in range(positions):
        slider.evaluate(MOVE, k)
        page.wait_for_timeout(60)
        image = Image.open(io.BytesIO(form.screenshot())).convert("RGB")
        images.append(image.resize((SHOWN, SHOWN * image.height // image.width), Image.Resampling.LANCZOS))
    return images


def main() -> None:
    browser_path = os.environ.get("YODA_NB_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "explorer.html"
        write_page(path)
        browser = playwright.chromium.launch(executable_path=browser_path)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(path.as_uri())
        images = move(page)
        browser.close()
    durations = [FRAME_MS] * (len(images) - 1) + [LAST_MS]
    images[0].save(OUT, save_all=True, append_images=images[1:], duration=durations, loop=0, quality=45, method=6)
    print(f"{OUT}: {len(images)} frames, {OUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
