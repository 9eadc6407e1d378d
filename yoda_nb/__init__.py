"""yoda-nb: medical image translation with 2.5D diffusion, explored in notebooks.

The names below are all that most users need; each is imported at its first use::

    import yoda_nb as yn
    volume = yn.phantom_case(7)
    print(yn.evaluate(volume, yn.translate(volume)))
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

_PLACES = {
    "InputError": "errors",
    "Volume": "images",
    "evaluate": "metrics",
    "load_case": "data.manifest",
    "load_volume": "preparation.load",
    "phantom_case": "phantoms.phantom",
    "read_manifest": "data.manifest",
    "save_image": "images",
    "score": "metrics",
    "systems": "",  # the module itself, which can be called
    "train": "systems.train",
    "trajectories": "systems",
    "translate": "systems",
}
__all__ = [
    "InputError",
    "Volume",
    "evaluate",
    "load_case",
    "load_volume",
    "phantom_case",
    "read_manifest",
    "save_image",
    "score",
    "systems",
    "train",
    "trajectories",
    "translate",
]

if TYPE_CHECKING:
    from yoda_nb import systems
    from yoda_nb.data.manifest import load_case, read_manifest
    from yoda_nb.errors import InputError
    from yoda_nb.images import Volume, save_image
    from yoda_nb.metrics import evaluate, score
    from yoda_nb.phantoms.phantom import phantom_case
    from yoda_nb.preparation.load import load_volume
    from yoda_nb.systems import trajectories, translate
    from yoda_nb.systems.train import train


def __getattr__(name: str) -> Any:
    """Import a name of the front door, or one of the package's rooms, at its first use (PEP 562)."""
    from importlib import import_module

    if _PLACES.get(name):
        return getattr(import_module(f"yoda_nb.{_PLACES[name]}"), name)
    if name == "systems":
        return import_module("yoda_nb.systems")
    raise AttributeError(f"module 'yoda_nb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
