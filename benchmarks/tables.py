"""Time `read_labels` beside pandas reading, and joining, the same files.

    python benchmarks/tables.py [--rounds 9] [--scale 1.0]

NIH's table of 112,120 images is the real one in the folder that CXR_REAL_DATA names, or made up in its form; tables
of the size of CheXpert's (223,414 images) and of MIMIC-CXR-JPG's (377,110 images of 227,827 studies, three files) are
made up. The aim: below 2.5 times pandas for CheXpert's and MIMIC's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from inputs import nih_table, real_folder
from timing import functions_in_turns, headline, ratios, report

from cxr_cli.data.labels import read_labels
from cxr_cli.data.schemas import CHEXPERT_PATHOLOGIES

N_CHEXPERT, N_MIMIC, N_STUDIES = 223_414, 377_110, 227_827


def main() -> None:
    """Print a table and a headline for each form."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="of the tables that are made up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = real_folder()
        nih = real / "Data_Entry_2017_v2020.csv.gz" if real else nih_table(folder / "nih.csv")
        chexpert = chexpert_table(folder / "chexpert.csv", int(N_CHEXPERT * options.scale))
        mimic = mimic_tables(folder, int(N_MIMIC * options.scale), int(N_STUDIES * options.scale))
        compare("NIH", lambda: pd.read_csv(nih), lambda: read_labels(nih), options.rounds)
        compare("CheXpert", lambda: pd.read_csv(chexpert), lambda: read_labels(chexpert), options.rounds)
        labels, *others = mimic
        compare(
            "MIMIC-CXR-JPG", lambda: joined_by_pandas(*mimic), lambda: read_labels(labels, join=others), options.rounds
        )


def compare(name: str, bare: Callable[[], object], ours: Callable[[], object], rounds: int) -> None:
    """Time both in turns, in this process."""
    timings = functions_in_turns({"pandas": bare, "read_labels": ours}, rounds)
    print(f"\n{name}")
    report(timings, "pandas")
    headline(f"{name}, read_labels over pandas", ratios(timings["read_labels"], timings["pandas"]))


def chexpert_table(path: Path, n_images: int) -> Path:
    """Write a table in CheXpert's form: labels 1, 0, -1 and mostly blank."""
    random = np.random.default_rng(1)
    patients = np.sort(random.integers(1, 64_541, n_images))
    frame = pd.DataFrame(
        {
            "Path": [
                f"CheXpert-v1.0/train/patient{who:05}/study1/view{n}_frontal.jpg" for n, who in enumerate(patients)
            ],
            "Sex": random.choice(["Female", "Male"], n_images),
            "Age": random.integers(18, 91, n_images),
            "Frontal/Lateral": random.choice(["Frontal", "Lateral"], n_images, p=[0.85, 0.15]),
            "AP/PA": random.choice(["AP", "PA"], n_images),
            "No Finding": random.choice([1.0, np.nan], n_images, p=[0.1, 0.9]),
            **made_up_labels(random, n_images),
        }
    )
    frame.to_csv(path, index=False)
    return path


def mimic_tables(folder: Path, n_images: int, n_studies: int) -> tuple[Path, Path, Path]:
    """Write labels by study, and metadata and split by image, in MIMIC's form."""
    random = np.random.default_rng(2)
    studies = 50_000_000 + random.permutation(n_studies)
    subjects = 10_000_000 + random.integers(0, 65_379, n_studies)
    labels = pd.DataFrame({"subject_id": subjects, "study_id": studies, **made_up_labels(random, n_studies)})
    of = np.concatenate((np.arange(n_studies), random.integers(0, n_studies, n_images - n_studies)))
    images = pd.DataFrame(
        {
            "dicom_id": [f"{number:08x}-{number * 7919 % 65536:04x}-aaaabbbb-ccccdddd" for number in range(n_images)],
            "subject_id": subjects[of],
            "study_id": studies[of],
            "PerformedProcedureStepDescription": "CHEST (PA AND LAT)",
            "ViewPosition": random.choice(["AP", "PA", "LATERAL"], n_images),
            "Rows": 3056,
            "Columns": 2544,
            "StudyDate": random.integers(21_000_101, 22_001_231, n_images),
        }
    )
    split = images[["dicom_id", "study_id", "subject_id"]].assign(
        split=random.choice(["train", "validate", "test"], n_images, p=[0.97, 0.01, 0.02])
    )
    paths = tuple(folder / f"mimic-cxr-2.0.0-{name}.csv" for name in ("chexpert", "metadata", "split"))
    for frame, path in zip((labels, images, split), paths, strict=True):
        frame.to_csv(path, index=False)
    return paths[0], paths[1], paths[2]


def made_up_labels(random: np.random.Generator, n: int) -> dict[str, object]:
    """Return a column for each of CheXpert's pathologies."""
    values = np.array([1.0, 0.0, -1.0, np.nan])
    return {name: random.choice(values, n, p=[0.1, 0.05, 0.03, 0.82]) for name in CHEXPERT_PATHOLOGIES}


def joined_by_pandas(labels: Path, metadata: Path, split: Path) -> pd.DataFrame:
    """Read three files and join them, as a user of pandas would."""
    images = pd.read_csv(metadata).merge(pd.read_csv(labels), on=["subject_id", "study_id"])
    return images.merge(pd.read_csv(split), on=["dicom_id", "subject_id", "study_id"])


if __name__ == "__main__":
    main()
