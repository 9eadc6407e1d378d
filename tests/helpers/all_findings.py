"""The findings of the whole ledger, judged once in a process: it takes seconds."""

from __future__ import annotations

from functools import cache

from yoda_papers.ledger import Finding, Study, find


@cache
def findings() -> list[Finding]:
    return find(study=Study())
