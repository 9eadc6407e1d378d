"""The explorer of styles."""

from __future__ import annotations

import pytest

from yoda_nb.errors import InputError
from yoda_nb.figures import explorers
from yoda_nb.phantoms.phantom import phantom_case


def test_the_explorer_of_styles_has_an_image_for_every_choice():
    volume = phantom_case(3, shape=(32, 32, 32), spacing=6.0)
    images = {style: {way: volume.clean + k / 50 for way in ("alone", "ISTA")} for k, style in enumerate(("a", "b"))}
    explorer = explorers.styles(images, volume)
    assert [c["id"] for c in explorer.spec["controls"]][:2] == ["style", "sampling"]
    told = dict((r["label"], r["value"]) for r in explorer.spec["readouts"])
    psnr = told["PSNR to acquired (dB)"]["values"]
    assert float(psnr[0]["values"][0]) > float(psnr[1]["values"][1])
    assert len(explorer.frames) >= 3
    with pytest.raises(InputError, match="same ways"):
        explorers.styles({"a": {"x": volume.clean}, "b": {"y": volume.clean}}, volume)
