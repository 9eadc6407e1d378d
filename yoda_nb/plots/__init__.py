"""Arrays and tables -> matplotlib figures. Nothing here knows a net."""

from yoda_nb.plots.base import *  # noqa: F403
from yoda_nb.plots.lesions import *  # noqa: F403
from yoda_nb.plots.studies import *  # noqa: F403
from yoda_nb.plots.systems import *  # noqa: F403
