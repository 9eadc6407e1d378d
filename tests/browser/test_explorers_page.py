"""Explorers in an exported page, opened from disk with no network: they move, and tell the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

from yoda_nb.figures import explorers, plots
from yoda_nb.figures.explorers import page as pages
from yoda_nb.figures.explorers import runner
from yoda_nb.phantoms.phantom import phantom_case
from yoda_nb.report import run_report

SIX = ("volumes", "tradeoff", "trajectory", "expa", "noise", "live")
PICTURE = "form => [...form.querySelectorAll('canvas')].filter(c => c.clientWidth).map(c => c.toDataURL()).join()"
# the reader's next picture: two frames, as the explorer draws in the first
SETTLED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def noisy(image, mask, sigma: float, seed: int):
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(mask, (image + 2 * sigma * noise).clamp(-1, 1), -1.0)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """A page with the six explorers of one small phantom."""
    v = phantom_case(1, spacing=5.0, shape=(40, 40, 40))
    images = {
        name: noisy(v.clean, v.mask, s, k)
        for k, (name, s) in enumerate({"regression": 0.005, "DDIM 8": 0.02, "diffusion": 0.04}.items())
    }
    measured = {"ssim": [0.9, 0.85, 0.8], "fd": [30.0, 12.0, 4.0], "noise": [0.005, 0.02, 0.04]}
    table = pd.DataFrame({"sampler": list(images), **measured, "evaluations": [3, 8, 20]})
    levels = (1.0, 0.6, 0.1)
    steps = [
        {
            "t": 99 - 40 * k,
            "s": (59, 19, -1)[k],
            "view": k,
            "noise_level": level,
            "mask": v.mask,
            "x": noisy(v.clean, v.mask, level, k),
            "x0": noisy(v.clean, v.mask, 0.03 - 0.01 * k, k),
            "clean": v.clean,
        }
        for k, level in enumerate(levels)
    ]
    samples = torch.stack([noisy(v.clean, v.mask, 0.04, 10 + k) for k in range(4)])
    fd = pytest.MonkeyPatch()
    fd.setattr(runner, "perceptual_table", lambda v, images: pd.DataFrame({"fd": np.arange(len(images)) + 1.0}))
    made = (
        explorers.volumes({**images, "truth": v.clean}, v.mask, reference="truth", lesions=v.lesions, title="Volumes"),
        explorers.tradeoff(table, {**images, "truth": v.clean}, v.mask, reference="truth", lines={"floor": 2.0}),
        explorers.trajectory(steps),
        explorers.expa(samples, v.mask, regression=images["regression"], sigma=0.04),
        explorers.noise(images["regression"], [0, 0.02, 0.04], v.mask, target=v.target, fd={0: 9, 0.04: 2}),
        explorers.live(v, images={"diffusion": images["diffusion"]}),
    )
    fd.undo()
    path = tmp_path_factory.mktemp("six") / "six.html"
    pages.save([(e, f"The picture of {name}.", f"About {name}.") for e, name in zip(made, SIX, strict=True)], path)
    return path, made[0].spec, images


@pytest.fixture
def opened(six, open_blocked):
    """The page, all explorers mounted."""
    page = open_blocked(six[0])
    page.locator("form.yx").nth(len(SIX) - 1).wait_for()
    yield page
    assert page.errors == [] and page.requests_seen == []


def form(page, name: str):
    return page.locator("form.yx").nth(SIX.index(name))


def picture(page, name: str) -> str:
    page.evaluate(SETTLED)
    return form(page, name).evaluate(PICTURE)


@pytest.mark.parametrize(("name", "control"), [("trajectory", "step"), ("expa", "n"), ("noise", "sigma")])
def test_a_slider_moves_by_keyboard_and_by_mouse(opened, name, control):
    slider, told = (
        form(opened, name).locator(f"input[name={control}]"),
        form(opened, name).locator(".yx-readouts strong").first,
    )
    seen = [(picture(opened, name), told.inner_text())]
    slider.focus()
    opened.keyboard.press("ArrowRight")
    seen.append((picture(opened, name), told.inner_text()))
    opened.keyboard.press("End")
    seen.append((picture(opened, name), told.inner_text()))
    assert len({p for p, _ in seen}) == len({t for _, t in seen}) == 3, "every position has its image and numbers"
    box = slider.bounding_box()
    opened.mouse.click(box["x"] + 2, box["y"] + box["height"] / 2)
    assert (picture(opened, name), told.inner_text()) == seen[0]
    assert slider.get_attribute("aria-valuetext") == form(opened, name).locator(".yx-value").first.inner_text()


def test_the_plane_is_picked_by_mouse_and_by_keyboard(opened):
    here = form(opened, "tradeoff")
    points, chosen, before = here.get_by_role("radio", name="ssim"), here.locator("select"), picture(opened, "tradeoff")
    points.nth(2).click()
    opened.evaluate(SETTLED)
    assert chosen.input_value() == "2" and here.locator(".yx-readouts strong").first.inner_text() == "0.8"
    after = picture(opened, "tradeoff")
    assert after != before and points.nth(2).get_attribute("aria-checked") == "true"
    opened.keyboard.press("Home")  # the point picked has the focus: to the least SSIM, where it is already
    opened.keyboard.press("ArrowRight")
    opened.evaluate(SETTLED)
    assert chosen.input_value() == "1" and points.nth(1).evaluate("node => node === document.activeElement")
    chosen.select_option("0")
    assert picture(opened, "tradeoff") == before


def test_panels_share_cursor_view_slice_and_window(opened):
    here, where = form(opened, "volumes"), form(opened, "volumes").locator(".yx-view .yx-note")
    start, seen = where.inner_text(), {picture(opened, "volumes")}
    here.get_by_label("Lesion outline").check()  # the explorer opens on a slice with lesions
    assert picture(opened, "volumes") not in seen
    here.locator("canvas").first.click(position={"x": 40, "y": 60})
    opened.evaluate(SETTLED)
    clicked = where.inner_text()
    assert clicked != start
    here.get_by_role("application").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("PageUp")
    opened.evaluate(SETTLED)
    moved = [int(b) - int(a) for a, b in zip(voxel(clicked), voxel(where.inner_text()), strict=True)]
    assert moved == [-1, 0, 1], "right on the screen is the subject's left; up is superior"
    for act in (
        lambda: here.get_by_role("radio", name="sagittal").check(),
        lambda: here.locator("input[name=window]").fill("0.4"),
        lambda: here.locator("input[name=level]").fill("0.2"),
        lambda: here.get_by_label("Cross lines").uncheck(),
        lambda: here.get_by_label("Differences to").select_option("none"),
    ):
        act()
        now = picture(opened, "volumes")
        assert now not in seen
        seen.add(now)
    assert (
        here.locator("canvas:visible").count() == 4
        and "sagittal" in here.locator("label", has_text="Slice").inner_text()
    )
    here.get_by_role("button", name="Reset view").click()
    opened.evaluate(SETTLED)
    assert voxel(where.inner_text()) == voxel(start)


def voxel(words: str) -> list[str]:
    return words.partition("voxel ")[2].partition(";")[0].split(", ")


def test_slices_are_those_of_the_static_figures(opened, six):
    """Grey levels on screen against ``plots.slice_of``, in the three views."""
    _, spec, images = six
    here = form(opened, "volumes")
    here.get_by_label("Cross lines").uncheck()
    at = [int(n) for n in voxel(here.locator(".yx-view .yx-note").inner_text())]
    for view, name in enumerate(("sagittal", "coronal", "axial")):
        here.get_by_role("radio", name=name).check()
        opened.evaluate(SETTLED)
        # the canvas brought back to one pixel a voxel
        size, pixels = here.locator("canvas").first.evaluate("""canvas => {
            const [w, h] = [Math.round(canvas.width / 8), Math.round(canvas.height / 8)]
            const small = new OffscreenCanvas(w, h).getContext('2d')
            small.drawImage(canvas, 0, 0, w, h)
            return [[h, w], [...small.getImageData(0, 0, w, h).data].filter((_, i) => i % 4 === 0)]
        }""")
        drawn = np.array(pixels).reshape(size) / 255
        box = [slice(low, low + n) for low, n in zip(spec["origin"], spec["shape"], strict=True)]
        expected = plots.slice_of(images["regression"][:, *box], view, at[view] - box[view].start)
        rows, columns = (
            np.linspace(0, n - 1, m).round().astype(int) for n, m in zip(expected.shape, size, strict=True)
        )
        static = expected[rows][:, columns].ravel()
        upright, *turned = (np.corrcoef(x.ravel(), static)[0, 1] for x in (drawn, drawn[:, ::-1], drawn[::-1]))
        assert upright > 0.9 and upright > max(turned) + 0.02, (name, upright, turned)


def test_fifty_rapid_drags_end_at_the_last_value_and_keep_no_memory(opened):
    here = form(opened, "expa")
    slider = here.locator("input[name=n]")
    session = opened.context.new_cdp_session(opened)

    def drag():
        slider.evaluate("""input => {
            for (let i = 0; i < 50; i++) {
                input.value = i % 4
                input.dispatchEvent(new Event('input', {bubbles: true}))
            }
        }""")
        opened.evaluate(SETTLED)

    def used() -> dict:
        session.send("HeapProfiler.collectGarbage")
        return {**session.send("Memory.getDOMCounters"), **session.send("Runtime.getHeapUsage")}

    drag()
    before = used()
    for _ in range(5):
        drag()
    after = used()
    assert here.locator(".yx-readouts strong").first.inner_text() == "2" and slider.input_value() == "1"
    assert after["nodes"] <= before["nodes"] + 20 and after["jsEventListeners"] <= before["jsEventListeners"]
    assert after["usedSize"] < before["usedSize"] + 1e6


def test_an_invalid_value_is_clamped(opened):
    slider = form(opened, "noise").locator("input[name=sigma]")
    slider.evaluate("input => { input.max = 99; input.value = 50; input.dispatchEvent(new Event('input')) }")
    opened.evaluate(SETTLED)
    assert (
        slider.input_value() == "2"
        and form(opened, "noise").locator(".yx-readouts strong").first.inner_text() == "0.04"
    )


def test_read_outs_are_told_once_the_reader_pauses(opened):
    here = form(opened, "trajectory")
    assert here.get_by_role("status").inner_text() == ""
    here.locator("input[name=step]").press("End")
    here.get_by_role("status").filter(has_text="19 → image").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(six, open_blocked, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = open_blocked(six[0], color_scheme=scheme)
    page.locator("form.yx").nth(len(SIX) - 1).wait_for()
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_every_control_is_reached_by_tab_and_shows_it(opened):
    here = form(opened, "tradeoff")
    here.locator("select").focus()
    reached = []
    for _ in range(9):
        opened.keyboard.press("Tab")
        reached.append(
            opened.evaluate("""() => {
            const node = document.activeElement, style = getComputedStyle(node)
            return [node.getAttribute('role') ?? node.name ?? node.type, style.outlineStyle]
        }""")
        )
    names = ["radio", "application", "view", "slice", "window", "level", "cross", ""]
    assert [name for name, _ in reached][: len(names)] == names
    assert all(outline == "solid" for _, outline in reached[: len(names)])


def test_without_javascript_the_picture_is_there(six, open_blocked):
    page = open_blocked(six[0], java_script_enabled=False)
    assert page.locator("img").count() == len(SIX) and page.locator("canvas").count() == 0
    for image, name in zip(page.locator("img").all(), SIX, strict=True):
        assert image.get_attribute("alt") == f"The picture of {name}." and image.bounding_box()["width"] > 200
    assert "About live." in page.locator("figcaption").last.inner_text()


def test_an_explorer_without_its_images_keeps_its_picture_and_says_why(six, open_blocked, tmp_path):
    text = six[0].read_text(encoding="utf-8")
    (tmp_path / "cut.html").write_text(pages.FRAME.sub("", text, count=1), encoding="utf-8")
    page = open_blocked(tmp_path / "cut.html")
    page.get_by_text("left out to keep the page small").first.wait_for()
    assert page.locator("img").first.is_visible() and page.errors == []


def test_a_report_holds_live_explorers(open_blocked, tmp_path):
    source = """\
import torch
from yoda_nb.figures import explorers
mask = torch.ones((1, 14, 14, 14), dtype=torch.bool)
images = {name: torch.full(mask.shape, value) for name, value in (("dim", -0.5), ("bright", 0.5))}
explorers.volumes(images, mask, reference="dim").show(alt="Two flat boxes side by side.", caption="Boxes.")"""
    headline = new_code_cell(source, metadata={"tags": ["headline"]})
    notebook = new_notebook(cells=[new_markdown_cell("# Is it alive?"), headline, new_code_cell(source)])
    (tmp_path / "one.ipynb").write_text(writes(notebook))
    result = run_report([tmp_path / "one.ipynb"], tmp_path / "out", progress=lambda line: None)
    assert not result.failed
    for name, count in (("one", 2), ("index", 1)):
        page = open_blocked(tmp_path / "out" / f"{name}.html")
        page.locator("form.yx").nth(count - 1).wait_for()
        assert page.locator("form.yx").count() == count and page.locator("[data-yx-frame]").count() == 0
        before = page.locator("form.yx").first.evaluate(PICTURE)
        page.locator("form.yx").first.get_by_label("Differences to").select_option("bright")
        page.evaluate(SETTLED)
        assert page.locator("form.yx").first.evaluate(PICTURE) != before
        assert page.errors == [] and page.requests_seen == []
