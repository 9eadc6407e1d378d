"""Arrays and tables -> matplotlib figures. Nothing here knows a net."""

from yoda_nb.figures.plots.base import *  # noqa: F403
from yoda_nb.figures.plots.lesions import *  # noqa: F403
from yoda_nb.figures.plots.preparation import *  # noqa: F403
from yoda_nb.figures.plots.slices import *  # noqa: F403
from yoda_nb.figures.plots.studies import *  # noqa: F403
from yoda_nb.figures.plots.systems import *  # noqa: F403
