from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.files import Outputs
from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import Predictions, read_predictions
from cxr_cli.errors import InputError

LABELS = "Image,Mass,PatientId,Edema\na.png,1,1,0\nb.png,0,2,1\nc.png,0,3,\n"
GOOD = "Image,Mass,Edema\na.png,0.1,0.2\nb.png,0.3,0.4\nc.png,0,1\n"


@pytest.fixture
def read(tmp_path):
    def read(predictions, labels=LABELS):
        (tmp_path / "labels.csv").write_text(labels)
        (tmp_path / "predictions.csv").write_text(predictions)
        table = read_labels(tmp_path / "labels.csv")
        return read_predictions(tmp_path / "predictions.csv", table.pathologies).in_order(table)

    return read


@pytest.fixture
def alone(tmp_path):
    """Read a predictions file without a label table."""

    def read(text, pathologies=()):
        (tmp_path / "predictions.csv").write_text(text)
        return read_predictions(tmp_path / "predictions.csv", pathologies)

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
        ("Image", "Sample", "line 1: no image column"),
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


def test_the_course_keeps_labels_and_predictions_in_one_file(alone):
    found = alone(
        ",Image,Mass,PatientId,Edema,Hello,Edema_pred,Mass_pred\n7,a.png,1,0042,,1,0.25,0.5\n9,b.png,0,,1,1,0.75,1\n"
    )
    assert found.images == ("a.png", "b.png")
    assert found.pathologies == ("Edema", "Mass")
    np.testing.assert_array_equal(found.probabilities, [[0.25, 0.5], [0.75, 1]])
    np.testing.assert_array_equal(found.labels, [[np.nan, 1], [1, 0]])
    assert found.patients == ("42", "")
    assert found.unused == ("Hello",)


@pytest.mark.parametrize("form", ["{}", "{}_pred", "prob_{}", "pred_{}", "{}_prob"])
def test_names_are_found_however_they_are_written(alone, form):
    found = alone(f"path,{form.format('No Finding')},{form.format('pleural thickening')}\nx/a.png,0.5,0.125\n")
    assert found.pathologies == ("No Finding", "Pleural_Thickening")
    assert found.labels is None and found.patients is None
    np.testing.assert_array_equal(found.probabilities, [[0.5, 0.125]])


def test_pathologies_of_a_table_of_ones_own(alone):
    text = "Image,Sternal_wires,Other\na.png,0.5,3\n"
    found = alone(text, ["sternal wires"])
    assert (found.pathologies, found.unused) == (("sternal wires",), ("Other",))
    with pytest.raises(InputError, match="no column of predictions: Image, Sternal_wires, Other"):
        alone(text)
    found = alone("Image,Sternal_wires,Sternal_wires_pred\na.png,1,0.5\n")
    assert found.pathologies == ("Sternal_wires",) and found.labels.tolist() == [[1]]


def test_logits_are_read_and_refused_where_probabilities_are_needed(alone, read):
    assert alone("Image,Mass\na.png,-7.5\n").probabilities.tolist() == [[-7.5]]
    with pytest.raises(InputError, match="sigmoid"):
        read(GOOD.replace("0.3", "-7.5"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Image,Mass_pred,prob_mass\na.png,1,1\n", "columns Mass_pred and prob_mass are the same pathology"),
        ("Image,Mass\n,1\n", "line 2: no image in column Image"),
        ("Image,Mass,Mass_pred\na.png,2,1\n", "line 2: column Mass: label 2"),
        ("Image,Mass,Mass_pred\na.png,x,1\n", "line 2: column Mass: label x"),
        ("Image,Mass\na.png,inf\n", "line 2: column Mass: probability inf"),
    ],
)
def test_more_offenders(alone, text, message):
    with pytest.raises(InputError) as caught:
        alone(text)
    assert message in str(caught.value)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=8),
    st.sampled_from([np.float32, np.float64]),
    st.booleans(),
)
def test_what_is_written_is_read_back_bit_by_bit(values, kind, with_patients):
    probabilities = np.array(values[: len(values) // 2 * 2], dtype=kind).reshape(-1, 2)
    images = tuple(f'image, "{row}".png' for row in range(len(probabilities)))
    patients = tuple(str(row % 2 + 1) for row in range(len(images))) if with_patients else None
    with TemporaryDirectory() as folder:
        outputs = Outputs(Path(folder))
        path = Predictions(images, ("Mass", "Pleural_Thickening"), probabilities, patients).write(outputs, "p.csv")
        assert outputs.written == [path]
        found = read_predictions(path)
    assert (found.images, found.patients) == (images, patients)
    np.testing.assert_array_equal(found.probabilities.astype(kind), probabilities)


def test_real_files_of_three_projects(real_data):
    folder = real_data / "predictions"
    course = read_predictions(folder / "course" / "train_preds.csv")
    assert course.probabilities.shape == (5000, 14) == course.labels.shape
    assert course.unused == ("Hello",) and len(set(course.patients)) == 3825
    nih = read_predictions(folder / "nih-five-models" / "seed11" / "preds.csv.gz")
    assert nih.probabilities.shape == (6373, 15) and "No Finding" in nih.pathologies
    chexnet = read_predictions(folder / "reproduce-chexnet" / "preds.csv.gz")
    assert chexnet.probabilities.shape == (22433, 14) and not chexnet.unused
