"""The papers that yoda-nb re-derives: a folder each, with its methods, claims and tables of evidence.

``ledger`` judges the claims, ``evidence`` holds the shipped tables and samples, ``weights`` the models. This package
uses ``yoda_nb``, which finds the papers through the entry points ``yoda_nb.papers`` and never imports them by name.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
SAMPLES = Path(__file__).parent / "evidence" / "samples"
