import numpy as np
import pytest

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.errors import InputError

LABELS = "Image,Mass,PatientId,Edema\na.png,1,1,0\nb.png,0,2,1\nc.png,0,3,\n"
GOOD = "Image,Mass,Edema\na.png,0.1,0.2\nb.png,0.3,0.4\nc.png,0,1\n"


@pytest.fixture
def read(tmp_path):
    def read(predictions, labels=LABELS):
        (tmp_path / "labels.csv").write_text(labels)
        (tmp_path / "predictions.csv").write_text(predictions)
        return read_predictions(tmp_path / "predictions.csv", read_labels(tmp_path / "labels.csv"))

    return read


def test_rows_and_columns_are_brought_into_the_order_of_the_table(read):
    found = read("Edema,Image,Mass\n1,c.png,0\n0.2,a.png,0.1\n0.4,b.png,0.3\n")
    np.testing.assert_array_equal(found.probabilities, [[0.1, 0.2], [0.3, 0.4], [0, 1]])
    np.testing.assert_array_equal(found.probabilities, read(GOOD).probabilities)
    assert found.source.path.endswith("predictions.csv")


@pytest.mark.parametrize("name", ["image", "Image Index", "Path", "IMAGE"])
def test_names_of_the_image_column(read, name):
    assert read(GOOD.replace("Image", name)).probabilities.shape == (3, 2)


def test_an_image_named_twice_by_the_table_needs_one_prediction(read):
    found = read(GOOD, LABELS + "a.png,1,1,1\n")
    np.testing.assert_array_equal(found.probabilities[3], [0.1, 0.2])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.3", "1.5", "line 3: column Mass: probability 1.5 (1 such cells); expected a number from 0 to 1"),
        ("0.3", "-0.01", "line 3: column Mass: probability -0.01"),
        ("0.3", "", "line 3: column Mass: probability blank"),
        ("0.3", "nan", "line 3: column Mass: probability blank"),
        ("0.3", "high", "line 3: column Mass: probability high"),
        ("0.3", "inf", "line 3: column Mass: probability inf"),
        ("b.png", "x.png", "line 3: image 'x.png' is not in the label table (1 such rows)"),
        ("b.png", "a.png", "line 3: image 'a.png' is there for the second time"),
        ("b.png,0.3,0.4\n", "", "no prediction for image 'b.png' (1 such images)"),
        (",Mass", ",Hernia", "line 1: no column for pathology Mass"),
        ("Edema\na.png,", "Edema,Hernia\na.png,0,", "fields"),
        ("Image", "Film", "line 1: no image column"),
        ("Image,Mass", "Image,Path", "columns Image, Path could both name the image"),
    ],
)
def test_the_first_offender_is_named(read, old, new, message):
    with pytest.raises(InputError) as caught:
        read(GOOD.replace(old, new))
    assert message in str(caught.value)
    assert "predictions.csv" in str(caught.value)
    assert caught.value.remedy


def test_extra_pathologies(read):
    with pytest.raises(InputError, match=r"column Hernia \(2 such columns\)"):
        read("Image,Mass,Hernia,Edema,Nodule\na.png,0,0,0,0\nb.png,0,0,0,0\nc.png,0,0,0,0\n")
