"""Every kind of hostile input. One more is a module with a ``CASE``, and its line here."""

from __future__ import annotations

import case_bank
import case_bids
import case_checkpoints
import case_images
import case_manifests
import case_models
import case_notebooks
import case_packs
import case_parameters
import case_plans
from inputs import Case

MODULES = (
    case_images,
    case_manifests,
    case_bids,
    case_models,
    case_checkpoints,
    case_packs,
    case_bank,
    case_parameters,
    case_notebooks,
    case_plans,
)
CASES: dict[str, Case] = {module.CASE.kind: module.CASE for module in MODULES}
TURNS = tuple(case.kind for case in CASES.values() for _ in range(case.share))  # which input is of which kind
