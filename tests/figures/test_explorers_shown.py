"""Where explorers are shown: a notebook, a report, a page of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from explored import SHAPE, small  # noqa: F401

from yoda_nb.figures import explorers
from yoda_nb.figures.explorers import display, page
from yoda_nb.figures.explorers.core import by


@pytest.fixture
def displayed(monkeypatch):
    """The bundles that were displayed."""
    found = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: found.append(data))
    return found


def test_a_notebook_gets_the_widget_and_a_picture(small, displayed, monkeypatch):
    mask, images = small
    monkeypatch.delenv("YODA_NB_REPORT", raising=False)
    explorers.volumes(images, mask).show(alt="Three <boxes>.", caption="Boxes.")
    (data,) = displayed
    assert "application/vnd.jupyter.widget-view+json" in data and page.MIME not in data
    assert 'alt="Three &lt;boxes&gt;."' in data["text/html"] and "<figcaption>Boxes." in data["text/html"]


def test_the_state_can_be_read_and_set_from_python(small):
    mask, images = small
    front = explorers.volumes(images, mask, reference="a").widget()
    front.state = {"view": 0, "reference": 77}
    assert front.state["view"] == 0 and front.state["reference"] == 3
    front.state = {"window": 0.5}
    assert front.state["view"] == 0 and front.state["window"] == 0.5


def test_a_cell_that_runs_again_leaves_no_widget(small, displayed, monkeypatch):
    mask, images = small
    monkeypatch.delenv("YODA_NB_REPORT", raising=False)
    monkeypatch.setattr(display, "_shown", {})
    parent = {"metadata": {"cellId": "cell-1"}, "header": {"msg_id": "run 1"}}
    kernel = type("Kernel", (), {"get_parent": lambda self: parent})()
    monkeypatch.setattr("IPython.get_ipython", lambda: type("Shell", (), {"kernel": kernel})())
    closed = []
    monkeypatch.setattr(display, "close", closed.append)
    explorer = explorers.volumes(images, mask)
    explorer.show(alt="one")
    explorer.show(alt="two of the same cell")
    assert closed == []
    parent["header"] = {"msg_id": "run 2"}
    explorer.show(alt="again")
    assert len(closed) == 2 and len(display._shown["cell-1"][1]) == 1


def reported(explorer, displayed, monkeypatch) -> dict:
    monkeypatch.setenv("YODA_NB_REPORT", "1")
    explorer.show(alt="A picture.", caption="Words </script> & more.")
    return json.loads(json.dumps(displayed.pop()))


def test_a_report_embeds_frames_once_under_a_policy_that_allows_one_script(small, displayed, monkeypatch):
    mask, images = small
    bundles = [reported(explorers.volumes(images, mask, reference=name), displayed, monkeypatch) for name in "ab"]
    body = "\n".join(page.block(data[page.MIME], data["text/html"]) for data in bundles)
    found = page.assets(body)
    assert len(re.findall(r"data-yx-frame=", body)) == 6 and len(re.findall("data-yx-frame=", found.body)) == 3
    script = re.fullmatch(r'<script type="module">(.*)</script>', str(found.script), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in found.policy and found.policy.startswith("default-src 'none'")
    assert "</script" not in script and "Words \\u003c/script" in found.body
    assert re.search(r"\b(fetch|XMLHttpRequest|import|WebSocket)\b *\(", script) is None
    specs = re.findall(r"data-yx-spec>(.*?)</script>", found.body, re.DOTALL)
    assert [json.loads(s)["caption"] for s in specs] == ["Words </script> & more."] * 2


def test_a_page_without_explorers_has_no_script():
    found = page.assets("<p>text</p>")
    assert found.script == found.css == "" and "script-src" not in found.policy and found.body == "<p>text</p>"


def test_frames_beyond_the_page_budget_are_left_out(small, monkeypatch):
    mask, images = small
    monkeypatch.setattr(page, "MAX_FRAMES", 6000)
    body = page.block(page.bundle(explorers.volumes(images, mask)), "<img>")
    assert len(page.assets(body).body) < len(body)


def test_a_saved_page_is_whole_and_replaces_the_old_at_once(small, tmp_path):
    mask, images = small
    path = tmp_path / "page.html"
    explorers.volumes(images, mask, title="A <b>").save(path, alt="Boxes.")
    text = path.read_text(encoding="utf-8")
    assert "<title>A &lt;b&gt;</title>" in text and text.endswith("</html>\n") and 'alt="Boxes."' in text
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_by_is_plain_json():
    assert json.loads(json.dumps(by("k", [1, None]))) == {"by": "k", "values": [1, None]}
