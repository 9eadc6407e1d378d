"""The commands ``yoda-nb claims``, ``rebuild`` and ``bench``, found through the entry points ``yoda_nb.commands``."""
