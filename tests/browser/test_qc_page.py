"""The page of quality control in a browser, from disk: planes move, images flicker, the spread is laid over them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.preparation.prepare import Prepared
from yoda_nb.scans.qc import write_qc

PICTURE = "() => [...document.querySelectorAll('.yx-planes canvas')].map(c => c.toDataURL()).join()"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    v = phantom_case(3, spacing=5.0, shape=(36, 40, 36))
    images = {name: (v.source[k : k + 1] + 1) / 2 for k, name in enumerate(v.sources)}
    spread = torch.where(v.mask, torch.rand(v.mask.shape, generator=torch.Generator().manual_seed(0)) / 10, 0.0)
    result = replace(v, target=v.clean, spread=spread)
    found = Prepared(v, {}, images, images, ("odd.",), (v.labels[0] > 1).numpy())
    scores = {"ssim": 0.9, "psnr": 30.0}
    path = tmp_path_factory.mktemp("page") / "qc.html"
    return write_qc(found, path, result=result, facts={"model": "tiny"}, scores=scores)


def test_planes_flicker_spread_and_outlines(page, written):
    page.goto(written.as_uri())
    page.locator(".yx-planes canvas").first.wait_for()
    seen = [page.evaluate(PICTURE)]

    def changed():
        page.wait_for_function(f"before => ({PICTURE})() !== before", arg=seen[-1])
        seen.append(page.evaluate(PICTURE))

    shown = page.locator(".yx-flip strong")
    assert shown.inner_text() == "A: FLAIR, acquired"
    page.get_by_role("button", name="Flip A and B").click()
    changed()
    assert shown.inner_text() == "B: FLAIR, synthetic"
    page.locator(".yx-planes canvas").first.focus()
    page.keyboard.press(" ")
    changed()
    assert shown.inner_text() == "A: FLAIR, acquired" and seen[2] == seen[0], "the space bar flips back"
    for label in ("Spread", "Outline of the mask"):
        page.get_by_label(label, exact=True).check()
        changed()
    assert "spread" in page.locator(".yx-view .yx-note").last.inner_text()
    page.get_by_label("axial slice").focus()
    page.keyboard.press("ArrowRight")
    changed()
    assert not page.errors and not [
        url for url in page.requests_seen if not url.startswith(("file:", "data:", "blob:"))
    ]
    text = page.locator("main").inner_text()
    for words in ("after the best gain and offset", "Outline of the other mask", "arbitrary units", "odd."):
        assert words in text, words


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_its_window(page, written, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(written.as_uri())
    page.locator(".yx-planes canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
