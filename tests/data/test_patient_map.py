from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_cli.data.labels import read_labels
from cxr_cli.data.patient_map import MapUse, PatientMap
from cxr_cli.errors import InputError

#: The form in which RSNA publishes where the images of its challenge come from.
RSNA = [
    {"img_id": "00000013_005.png", "subset_img_id": "aaaa-1", "SOPInstanceUID": "1.2.3.4", "orig_labels": ["Mass"]},
    {"img_id": "00000013_007.png", "subset_img_id": "aaaa-2", "SOPInstanceUID": "1.2.3.5", "orig_labels": []},
    {"img_id": "00000020_000.png", "subset_img_id": "aaaa-3", "SOPInstanceUID": "1.2.3.6", "orig_labels": []},
]


def rsna(folder, *images):
    path = folder / "stage_2_train_labels.csv"
    path.write_text("patientId,x,y,width,height,Target\n" + "".join(f"{image},,,,,0\n" for image in images))
    return read_labels(path)


def patients(table):
    return [None if code < 0 else table.patient_ids[code] for code in table.patient_codes.tolist()]


def test_the_map_that_rsna_publishes(tmp_path):
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(RSNA))
    found = PatientMap.read(path)
    assert (found.target, found.namespace, found.patients) == ("img_id", "nih", ("13", "13", "20"))
    assert list(found.columns) == ["img_id", "subset_img_id", "SOPInstanceUID"]
    table = rsna(tmp_path, "aaaa-2", "aaaa-3", "bbbb-9")
    assert not table.has_patients
    mapped, use = found.apply(table)
    assert use == MapUse("subset_img_id", "images", "img_id", 2, 1)
    assert patients(mapped) == ["13", "20", None]
    assert (mapped.patient_namespace, mapped.account.patients) == ("nih", "the map mapping.json")
    assert mapped.frame["patient_id"].isna().tolist() == [False, False, True]
    assert patients(table) == [None, None, None]


def test_the_same_as_csv_of_two_columns_in_either_order(tmp_path):
    for header, line in (("rsna,nih", "{b},{a}"), ("nih,rsna", "{a},{b}")):
        path = tmp_path / f"{header[0]}.csv"
        lines = [line.format(a=item["img_id"], b=item["subset_img_id"] + ".dcm") for item in RSNA]
        path.write_text("\n".join([header, *lines]) + "\n")
        mapped, use = PatientMap.read(path).apply(rsna(tmp_path, "aaaa-1", "aaaa-3"))
        assert patients(mapped) == ["13", "20"] and use.column == "rsna"


def test_ids_to_ids(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"p007": "A", "8": "B"}))
    found = PatientMap.read(path)
    own = tmp_path / "own.csv"
    own.write_text("Image,PatientId,Mass\na.png,p007,1\nb.png,0008,0\nc.png,9,0\n")
    mapped, use = found.apply(read_labels(own))
    assert patients(mapped) == ["A", "B", None]
    assert (use.by, use.n_not_in_map, mapped.patient_namespace) == ("patients", 1, "map")
    other = tmp_path / "other.csv"
    other.write_text("Image,PatientId,Mass\nd.png,A,1\n")
    targets, use = found.apply(read_labels(other))
    assert use is None and patients(targets) == ["A"] and targets.patient_namespace == "map"


def test_a_table_that_is_not_in_the_map_stays_as_it_is(tmp_path):
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(RSNA))
    for text in (
        "Image,PatientId,Mass\nx.png,13,1\n",
        "Image Index,Finding Labels,Patient ID\n00000013_005.png,Mass,13\n",
    ):
        own = tmp_path / "own.csv"
        own.write_text(text)
        table = read_labels(own)
        assert PatientMap.read(path).apply(table) == (table, None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "a\nb\n", "has 1 columns"),
        ("m.csv", "a,b,c\n1,2,3\n", r"has 3 columns \(a, b, c\), and none of image names"),
        ("m.json", "[1, 2]", "is not a map of ids"),
        ("m.json", '{"a": {"b": 1}}', "is not a map of ids"),
        ("m.json", "{", "is not JSON"),
        ("m.json", '[{"a": 1}]', "has 1 columns"),
    ],
)
def test_what_is_not_a_map_is_refused(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        PatientMap.read(path)


def test_one_image_with_two_patients_is_refused(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("from,to\na.png,1\nb.png,2\na.png,3\n")
    own = tmp_path / "own.csv"
    own.write_text("Image,Mass\na.png,1\n")
    with pytest.raises(InputError, match="a is patient 3 here and 1 before"):
        PatientMap.read(path).apply(read_labels(own))


@given(st.dictionaries(st.integers(1, 40), st.integers(1, 8), min_size=1), st.randoms())
def test_rows_share_a_patient_if_the_map_says_so(tmp_path_factory, owner, random):
    folder = tmp_path_factory.mktemp("map")
    lines = [f"i{image}.png,person {patient}" for image, patient in owner.items()]
    random.shuffle(lines)
    (folder / "m.csv").write_text("\n".join(["image,person", *lines]) + "\n")
    (folder / "t.csv").write_text("Image,Mass\n" + "".join(f"folder/i{image}.jpg,1\n" for image in range(1, 41)))
    mapped, use = PatientMap.read(folder / "m.csv").apply(read_labels(folder / "t.csv"))
    expected = [None if image not in owner else f"person {owner[image]}" for image in range(1, 41)]
    assert patients(mapped) == expected
    assert (use.n_mapped, use.n_not_in_map) == (len(owner), 40 - len(owner))
