from __future__ import annotations

import numpy as np
import pytest

from cxr_cli.data.boxes import read_boxes
from cxr_cli.errors import InputError

NIH = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def write(folder, text, name="boxes.csv"):
    (folder / name).write_text(text)
    return folder / name


def test_nih_rows_have_fewer_fields_than_the_header(tmp_path):
    path = write(tmp_path, NIH + "a.png,Infiltrate,225.5,547,86,79\nb.png,Mass,1,2,3,4\na.png,Mass,5,6,7,8,,,\n")
    found = read_boxes(path, ["Infiltration", "Mass"])
    assert found.images == ("a.png", "b.png", "a.png")
    assert found.pathologies == ("Infiltration", "Mass", "Mass")
    np.testing.assert_array_equal(found.boxes, [[225.5, 547, 86, 79], [1, 2, 3, 4], [5, 6, 7, 8]])
    assert found.extent == (626, 311.5)
    assert {image: boxes.tolist() for image, boxes in found.of_pathology("Mass").items()} == {
        "b.png": [[1, 2, 3, 4]],
        "a.png": [[5, 6, 7, 8]],
    }


def test_corners_and_images_without_a_box(tmp_path):
    text = (
        "image_id,class_name,rad_id,x_min,y_min,x_max,y_max\na,pleural thickening,R1,10,20,40,60\nb,No finding,R2,,,,\n"
    )
    found = read_boxes(write(tmp_path, text), ["Pleural_Thickening"])
    assert found.pathologies == ("Pleural_Thickening",) and found.n_without_box == 1
    assert found.boxes.tolist() == [[10, 20, 30, 40]]


def test_nih_list(real_data):
    found = read_boxes(real_data / "nih" / "BBox_List_2017.csv.gz", ["Infiltration"])
    assert (len(found.boxes), len(set(found.images)), len(set(found.pathologies))) == (984, 880, 8)
    assert "Infiltration" in found.pathologies and max(found.extent) <= 1024


def test_sample_boxes(sample_data):
    found = read_boxes(sample_data / "boxes.csv")
    assert len(found.boxes) == len((sample_data / "boxes.csv").read_text().splitlines()) - 1
    assert max(found.extent) <= 256


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Image,Mass\na.png,1\n", "line 1: not a box list: no column for pathology, x, y, right, bottom"),
        (NIH + "a.png,Mass,1,2,x,4\n", "line 2: width is 'x'"),
        (NIH + "a.png,Mass,1,2,nan,4\n", "line 2: width is 'nan'"),
        (NIH + "\na.png,Mass,1,2,0,4\n", "line 3: box at x 1, y 2 of width 0"),
        (NIH + "a.png,Mass,-1,2,3,4\n", "line 2: box at x -1"),
        (NIH + ",Mass,1,2,3,4\n", "line 2: no image"),
        (NIH, "has no boxes"),
    ],
)
def test_lists_that_are_none(tmp_path, text, said):
    with pytest.raises(InputError) as caught:
        read_boxes(write(tmp_path, text))
    assert said in str(caught.value)
