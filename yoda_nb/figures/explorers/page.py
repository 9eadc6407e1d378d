"""Explorers in HTML: no kernel, no request, and a picture where there is no script.

Frames are script elements of a type that no browser runs, each once on a page; the one script
that does run is allowed by its hash, everything else is forbidden by the page's policy.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from markupsafe import Markup

from yoda_nb.figures.explorers.core import Content
from yoda_nb.store import write_atomic

MIME = "application/vnd.yoda-nb.explorer+json"
MAX_FRAMES = 7_000_000  # bytes of frames on a page, so that it stays under 8 MB
HERE = Path(__file__).parent
PARTS = ("controls", "images", "charts", "panels", "planes", "explorer")
SCRIPT = "\n".join((HERE / f"{name}.js").read_text(encoding="utf-8") for name in PARTS)
CSS = (HERE / "explorer.css").read_text(encoding="utf-8")
ON_PAGE = SCRIPT + "\nmountPage(document);\n"
POLICY = (
    "default-src 'none'; img-src data:; media-src data:; font-src data:; style-src 'unsafe-inline'; form-action 'none'"
)
FRAME = re.compile(r'<script type="text/plain" data-yx-frame="(\w+)">[^<]*</script>\n?')


@dataclass(frozen=True)
class Assets:
    """What a page's explorers ask of its head and of its end; empty strings without any."""

    body: Markup
    policy: Markup
    css: Markup
    script: Markup


def bundle(explorer: Content, *, caption: str = "") -> dict[str, Any]:
    """An explorer as JSON: its spec, and its frames as base64 of gzip."""
    frames = {name: base64.b64encode(data).decode() for name, data in explorer.frames.items()}
    return {"spec": {**explorer.spec, "caption": caption}, "frames": frames}


def twin(explorer: Content, alt: str, caption: str) -> str:
    """The static picture as HTML."""
    fig = explorer.picture()
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    plt.close(fig)
    data = base64.b64encode(buffer.getvalue()).decode()
    note = " ".join(filter(None, (caption, explorer.spec["note"])))
    below = f"<figcaption>{html.escape(note)}</figcaption>" if note else ""
    picture = f'<img src="data:image/png;base64,{data}" alt="{html.escape(alt)}" style="max-width:100%">'
    return f"<figure>{picture}{below}</figure>"


def block(found: dict[str, Any], twin: str) -> Markup:
    """The place of one explorer on a page: its static twin, its spec and its frames."""
    spec = json.dumps(found["spec"], separators=(",", ":")).replace("<", "\\u003c")
    frames = "".join(
        f'<script type="text/plain" data-yx-frame="{name}">{data}</script>\n' for name, data in found["frames"].items()
    )
    return Markup(
        f'<div class="yx-host">{twin}\n<script type="application/json" data-yx-spec>{spec}</script>\n{frames}</div>'
    )


def assets(body: str) -> Assets:
    """Keep each frame of a page once, and say what the page needs to draw its explorers.

    Explorers whose frames would make the page too large keep their static twin.
    """
    seen, size = set(), 0

    def once(match: re.Match) -> str:
        nonlocal size
        if match[1] in seen or size + len(match[0]) > MAX_FRAMES:
            return ""
        seen.add(match[1])
        size += len(match[0])
        return match[0]

    body = FRAME.sub(once, body)
    if not seen:
        return Assets(Markup(body), Markup(POLICY), Markup(), Markup())
    digest = base64.b64encode(hashlib.sha256(ON_PAGE.encode()).digest()).decode()
    return Assets(
        Markup(body),
        Markup(f"{POLICY}; script-src 'sha256-{digest}'"),
        Markup(CSS),
        Markup(f'<script type="module">{ON_PAGE}</script>'),
    )


def save(explorers: Sequence[tuple[Content, str, str]], path: str | Path) -> None:
    """Write explorers, each with its alternative text and caption, as one page; atomic."""
    blocks = [block(bundle(e, caption=caption), twin(e, alt, caption)) for e, alt, caption in explorers]
    title = html.escape(explorers[0][0].spec["title"] or "Explorer")
    found = assets("\n".join(blocks))
    style = "body{margin:0 auto;max-width:72rem;padding:1rem;font-family:system-ui,sans-serif}img{max-width:100%}"
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{found.policy}">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}
{found.css}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{found.body}
</main>
{found.script}
</body>
</html>
"""
    write_atomic(Path(path), page.encode(errors="backslashreplace"))
