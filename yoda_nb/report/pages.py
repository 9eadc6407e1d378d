"""Executed notebooks into self-contained HTML: no request, readable without any script.

Outputs are shown by the first type below that they hold. Our explorers stay alive by a script of
their own, the only one there is; of any other widget the HTML or image twin is shown, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters import Highlight2HTML, strip_ansi
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from yoda_nb.data.places import GLOSSARY
from yoda_nb.figures.explorers.page import MIME as EXPLORER
from yoda_nb.figures.explorers.page import assets, block, bundle

NO_ALT = "Picture without a description"  # a test refuses it in the notebooks of this project
WIDGET = "application/vnd.jupyter.widget-view+json"
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")


def notebook_title(notebook: nbformat.NotebookNode, default: str) -> str:
    """The first level-one heading, as plain text."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# +(.+?)[ #]*$", cell.source, re.MULTILINE)):
            return re.sub(r"[*_`]", "", found[1])
    return default


def has_tag(cell: nbformat.NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", ())


def render_page(template: str, **values: Any) -> bytes:
    """One page from ``report/templates``; a value that the template misses is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"has_tag": has_tag, "outputs_of": outputs_html, "code": code_html, "assets": assets}
    environment.globals["explored"] = lambda explorer, pictures: block(bundle(explorer), pictures)
    environment.filters |= {"duration": duration, "literal": repr}
    return environment.get_template(template).render(**values).encode(errors="backslashreplace")


def duration(seconds: float) -> str:
    """Seconds in words fit for a table: 4.2 s, 75 s, 12 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def page_cells(notebook: nbformat.NotebookNode) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """The cells as the template shows them, and the (id, text) of their level-two headings."""
    cells: list[dict[str, Any]] = []
    sections: list[tuple[str, str]] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            renderer = _Renderer(cell.get("attachments", {}), sections)
            html = Markup(MarkdownWithMath(renderer=renderer).render(cell.source))
            cells.append({"kind": "prose", "html": html})
        elif cell.cell_type == "code" and (cell.source.strip() or cell.outputs):
            cells.append(
                {"kind": "code", "label": _label(cell), "html": code_html(cell.source), "outputs": outputs_html(cell)}
            )
    return cells, sections


def code_html(source: str) -> Markup:
    return Markup(Highlight2HTML(pygments_lexer="python")(source))


def outputs_html(cell: nbformat.NotebookNode) -> Markup:
    """All outputs of a code cell, joined; "" if none can be shown."""
    return Markup("\n").join(filter(None, map(output_html, _merged(cell.outputs))))


def inline_html(text: str) -> Markup:
    """A line of Markdown without the paragraph around it."""
    html = MarkdownWithMath(renderer=_Renderer({}, [])).render(text).strip()
    return Markup(html.removeprefix("<p>").removesuffix("</p>"))


def document_html(text: str) -> Markup:
    """A Markdown document."""
    return Markup(MarkdownWithMath(renderer=_Renderer({}, [])).render(text))


def math_html(tex: str, *, block: bool) -> str:
    """TeX as MathML, which browsers draw without any script; as code if it cannot be read."""
    # latex2mathml knows the environment by its other name.
    known = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{split}", tex.strip())
    try:
        mathml = convert(known, display="block" if block else "inline")
    except Exception:  # its errors share no base class; a reader still gets the source
        return f"<code>{escape(tex)}</code>"
    return mathml.replace("<math ", f'<math alttext="{escape(tex.strip())}" ', 1)


class _Renderer(IPythonRenderer):
    """nbconvert's Markdown, with MathML for equations and a record of the sections."""

    def __init__(self, attachments: dict[str, dict[str, str]], sections: list[tuple[str, str]]):
        super().__init__(escape=False, attachments=attachments, exclude_anchor_links=True)
        self.sections = sections

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        if level != 2:
            return super().heading(text, level, **attrs)
        name = f"section-{len(self.sections) + 1}"
        self.sections.append((name, Markup(re.sub(r"</?(?:a|code|em|strong)\b[^>]*>", "", text))))
        return f'<h2 id="{name}">{text}</h2>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, "glossary.html" if url == GLOSSARY.name else url, title)

    def block_math(self, body: str) -> str:
        return math_html(body, block=True)

    def inline_math(self, body: str) -> str:
        return math_html(body, block=False)

    def latex_environment(self, name: str, body: str) -> str:
        return math_html(rf"\begin{{{name}}}{body}\end{{{name}}}", block=True)

    def table(self, text: str) -> str:
        return _scrolling(f"<table>{text}</table>")


def output_html(output: nbformat.NotebookNode) -> Markup | None:
    """One output of a cell; None if it has nothing to show."""
    if output.output_type == "stream" and output.name == "stderr" and "\r" in output.text:
        return None  # a progress bar: it was for whoever waited
    if output.output_type == "stream":
        return Markup(f'<pre class="{output.name}">{_plain(output.text)}</pre>')
    if output.output_type == "error":
        return Markup(f'<pre class="error">{_plain(chr(10).join(output.traceback))}</pre>')
    return _data_html(output.data, output.metadata)


def _data_html(data: Mapping[str, Any], metadata: Mapping[str, Any]) -> Markup | None:
    """The richest form of one displayed object that lives on a page."""
    if explorer := data.get(EXPLORER):
        return block(explorer, data["text/html"])
    if html := data.get("text/html"):
        return Markup(_scrolling(html) if "<table" in html else f"<div>{html}</div>")
    if text := data.get("text/markdown"):
        return Markup(MarkdownWithMath(renderer=_Renderer({}, [])).render(text))
    if svg := data.get("image/svg+xml"):
        return Markup(f"<div>{svg}</div>")
    for kind in IMAGES:
        if kind in data:
            alt = escape(metadata.get(kind, {}).get("alt") or metadata.get("alt") or NO_ALT)
            bits = data[kind].replace("\n", "")
            return Markup(f'<img src="data:{kind};base64,{bits}" alt="{alt}">')
    if tex := data.get("text/latex"):
        return Markup(f"<p>{math_html(tex.strip().strip('$'), block=True)}</p>")
    if WIDGET in data or "text/plain" not in data:
        return None
    return Markup(f"<pre>{_plain(data['text/plain'])}</pre>")


def _plain(text: str) -> str:
    """Terminal text without its colours, which are chosen for a background we do not have."""
    return escape(strip_ansi(text))


def _scrolling(html: str) -> str:
    """A wide table scrolls in its own box, which the keyboard can reach."""
    return f'<div class="wide" tabindex="0" role="group" aria-label="Table">{html}</div>'


def _label(cell: nbformat.NotebookNode) -> str:
    """What a folded cell says of itself: its role, its opening comment, or just that it is code."""
    for tag, label in (("injected-parameters", "Parameters of this run"), ("parameters", "Defaults")):
        if has_tag(cell, tag):
            return label
    first = cell.source.strip().split("\n", 1)[0]
    return first.lstrip("# ").rstrip(":. ") if first.startswith("#") else "Code"


def _merged(outputs: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with neighbouring pieces of one stream joined, as a terminal would show them."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        same = merged and output.output_type == merged[-1].output_type == "stream"
        if same and output.name == merged[-1].name:
            merged[-1] = nbformat.NotebookNode({**merged[-1], "text": merged[-1].text + output.text})
        else:
            merged.append(output)
    return merged
