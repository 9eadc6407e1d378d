"""The commands ``yoda-nb claims``, ``rebuild`` and ``bench``, found through the entry points ``yoda_nb.commands``."""

import yoda_nb.cli  # noqa: F401  # first: it gathers the commands of this room by their entry points
