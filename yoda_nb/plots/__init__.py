"""Arrays and tables -> matplotlib figures. Nothing here knows a net."""

from yoda_nb.plots.base import *  # noqa: F403
