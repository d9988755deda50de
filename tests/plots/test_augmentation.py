import numpy as np

from cxr_cli.plots.augmentation import augmentation_sheet
from cxr_cli.services.augmentation import Ranges, preview


def test_one_row_per_film_one_column_per_transformation():
    film = np.arange(64, dtype=np.uint8).reshape(8, 8)
    figure = augmentation_sheet([("a.png", preview(film, Ranges())), ("b.png", preview(film, Ranges()))])
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 16
    assert [axis.get_title() for axis in shown[:3]] == ["original", "mirrored", "rotated 10°"]
    np.testing.assert_array_equal(shown[0].images[0].get_array(), film)
    assert shown[0].images[0].get_clim() == (0, 255)
