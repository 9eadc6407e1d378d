"""The live explorer: an anywidget around the scripts beside this file."""

from __future__ import annotations

import anywidget
import traitlets

from yoda_nb.figures.explorers.core import clamp_state
from yoda_nb.figures.explorers.page import CSS, SCRIPT


class Front(anywidget.AnyWidget):
    """One explorer in JupyterLab, VS Code or Voilà; setting part of ``state`` keeps the rest."""

    _esm = SCRIPT
    _css = CSS
    spec = traitlets.Dict().tag(sync=True)
    frames = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)

    @traitlets.validate("state")
    def _valid(self, proposal: traitlets.Bunch) -> dict:
        return clamp_state(self.spec, {**self.state, **proposal.value})
