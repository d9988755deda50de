from __future__ import annotations

import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.errors import ImageError
from cxr_cli.services import sources
from tests.drawn_images import image_pixels, save


def test_a_name_of_several_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "recipe_of_card", lambda card: None)
    for place in ("images/x.png", "masks/x.png"):
        save(tmp_path / "covid" / place, image_pixels(1))
    path = tmp_path / "t.csv"
    path.write_text("Image,PatientId,Mass\nx.png,1,1\n")
    with pytest.raises(ImageError, match=r"x\.png could be images/x\.png or masks/x\.png"):
        sources.open_table(read_labels(path), tmp_path / "covid", None)
