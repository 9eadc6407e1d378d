"""What would decide the claims that nothing here decides yet: an experiment each, and what it costs."""

UNDECIDED: dict[str, str] = {}
