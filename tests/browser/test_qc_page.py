"""The page of quality control in a browser, from disk: planes move, images flicker, the spread is laid over them."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
import torch

from yoda_nb.images.headers import CAUTION
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.preparation.prepare import Prepared
from yoda_nb.scans.qc import write_qc

PICTURE = "() => [...document.querySelectorAll('.yx-planes canvas')].map(c => c.toDataURL()).join()"


@cache
def phantom():
    return phantom_case(3, spacing=5.0, shape=(36, 40, 36))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    v = phantom()
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


def test_a_click_moves_the_other_planes_to_its_point(page, written):
    page.goto(written.as_uri())
    page.locator(".yx-planes canvas").first.click(position={"x": 60, "y": 80})
    note, before = page.locator(".yx-view .yx-note"), page.get_by_label("axial slice").input_value()
    voxel = note.inner_text()
    assert page.get_by_label("axial slice").input_value() == before, "its own slice stays"
    page.locator(".yx-planes canvas").nth(1).click(position={"x": 60, "y": 20})
    page.wait_for_function("old => document.querySelector('.yx-view .yx-note').textContent !== old", arg=voxel)
    assert page.get_by_label("axial slice").input_value() != before
    at, shown = re.match(r"Point at voxel (\d+, \d+, \d+): A ([\d.]+) ", note.inner_text()).groups()
    value = float((phantom().target[(0, *map(int, at.split(", ")))] + 1) / 2)
    assert float(shown) == pytest.approx(value, abs=0.05), "the voxel that was meant, from its mosaic"


def test_without_javascript_slices_and_words_are_there(written, open_blocked):
    page = open_blocked(written, java_script_enabled=False)
    assert page.locator("figure img").count() == 5 and page.locator("canvas").count() == 0
    assert all(image.bounding_box()["width"] > 200 for image in page.locator("figure img").all())
    assert CAUTION in page.locator("main").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(written, open_blocked, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = open_blocked(written, color_scheme=scheme)
    page.get_by_label("Spread", exact=True).check()
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_its_window(page, written, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(written.as_uri())
    page.locator(".yx-planes canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
