from __future__ import annotations

import json

import numpy as np

from cxr_cli.data.files import Outputs
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.check_leakage.hide_ids import hide_ids, salt_of
from cxr_cli.services.check_leakage.remove import remove_leakage
from cxr_cli.services.check_leakage.split_images import fingerprint_splits
from tests.drawn_images import image_pixels, save
from tests.services.check_leakage.test_check_leakage import course


def report_of(folder):
    """Make a report with something in every field that holds an id or a name."""
    images = folder / "images"
    for name, seed in (("secret-a.png", 1), ("secret-b.png", 2), ("secret-c.bmp", 1), ("secret-g.bmp", 1)):
        save(images / name, image_pixels(seed))
    save(images / "secret-d.png", np.clip(image_pixels(2) * 1.1, 0, 255).astype(np.uint8))
    save(images / "secret-e.png", np.zeros((9, 9), np.uint8))
    (images / "secret-f.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    rows = {
        "train": [("secret-a.png", 771), ("secret-a.png", 771), ("secret-b.png", 772), ("secret-e.png", 773)],
        "valid": [
            ("secret-c.bmp", 774),
            ("secret-g.bmp", 774),
            ("secret-d.png", 775),
            ("secret-f.png", 771),
            ("secret-x.png", 772),
            ("secret-b.png", 776),
            ("secret-ok.png", 778),
        ],
    }
    save(images / "secret-ok.png", image_pixels(9))
    tables = {name: course(folder, name, items) for name, items in rows.items()}

    def check(tables):
        return check_leakage(tables, fingerprint_splits(tables, dict.fromkeys(tables, images)))

    return tables, remove_leakage(tables, check(tables), ["valid"], Outputs(folder / "out"), check)


def test_no_id_and_no_name_is_left(tmp_path):
    tables, report = report_of(tmp_path)
    plain = json.dumps(report.to_dict())
    assert plain.count("secret") > 10 and '"771"' in plain
    hidden = hide_ids(report, salt_of(tables))
    text = json.dumps(hidden.to_dict())
    assert "secret" not in text
    assert not any(f'"{patient}"' in text for patient in range(771, 779))
    assert hidden.verdict == report.verdict
    assert hidden.pairs[0].patients.first.rows == report.pairs[0].patients.first.rows


def test_equal_ids_have_equal_hashes_throughout(tmp_path):
    tables, report = report_of(tmp_path)
    hidden = hide_ids(report, salt_of(tables))
    (exact,) = report.pairs[0].exact_duplicates.duplicates
    (hidden_exact,) = hidden.pairs[0].exact_duplicates.duplicates
    assert exact.first_images[0] == report.splits[0].repeated_images[0]
    assert hidden_exact.first_images[0] == hidden.splits[0].repeated_images[0]
    assert hidden_exact.first_images[0].startswith("image-")


def test_the_order_of_patients_does_not_tell_their_ids(tmp_path):
    _, report = report_of(tmp_path)
    ids = [item.patient_id for item in hide_ids(report, b"salt").pairs[0].patients.patients]
    assert len(ids) == 2 and ids == sorted(ids)


def test_the_salt_depends_on_the_tables_and_only_on_them(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    rows = [("x.png", 1), ("y.png", 2)]
    one = salt_of({"train": course(tmp_path / "a", "train", rows)})
    assert one == salt_of({"train": course(tmp_path / "b", "train", rows)})
    other = course(tmp_path / "b", "train", [*rows, ("z.png", 3)])
    assert one != salt_of({"train": other})
    assert other.source.sha256 not in salt_of({"train": other}).hex()


def test_names_of_different_images_and_notes_tell_nothing(tmp_path):
    tables = {}
    for place, name in enumerate(("train", "valid")):
        for number in (1, 2, 3):
            save(
                tmp_path / name / f"secret-{number}.{'PNG' if number == 3 else 'png'}",
                image_pixels(10 * place + number),
            )
        rows = [(f"secret-{number}.png", 100 * place + number) for number in (1, 2, 3)]
        tables[name] = course(tmp_path, name, rows)
    images = fingerprint_splits(tables, {name: tmp_path / name for name in tables})
    report = check_leakage(tables, images)
    assert report.pairs[0].names.different_images == ("secret-1.png", "secret-2.png", "secret-3.png")
    assert "secret-3.PNG" in report.splits[0].image_check.notes[0]
    hidden = hide_ids(report, salt_of(tables))
    assert "secret" not in json.dumps(hidden.to_dict())
    names = hidden.pairs[0].names.different_images
    assert len(names) == 3 and list(names) == sorted(names)
