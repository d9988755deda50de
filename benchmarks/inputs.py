"""Inputs for the benchmarks: real ones where there are any, made up where not, scaled up by repetition or by rule."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_cli.data.schemas import NIH_PATHOLOGIES

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data"
N_NIH = 112_120

_COLUMNS = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def real_folder() -> Path | None:
    """Return the folder with NIH's files that CXR_REAL_DATA points to, or None."""
    folder = Path(os.environ.get("CXR_REAL_DATA", "nowhere")) / "nih"
    return folder if folder.is_dir() else None


def table_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a command line that takes a label table: NIH's if it is at hand, else the sample's."""
    real = real_folder()
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    table = SAMPLE / "train-small.csv" if real is None else real / "Data_Entry_2017_v2020.csv.gz"
    parser.add_argument("labels", nargs="?", type=Path, default=table)
    return parser


def image_files(folder: Path, side: int = 1024) -> tuple[list[Path], str]:
    """Return images and their description: real ones, or the sample's scaled up into `folder`."""
    real = real_folder()
    if real is not None:
        found = sorted(path for path in (real / "images-small").glob("*.png") if not path.name.startswith("."))
        return found, f"{len(found)} real NIH images"
    made = []
    for path in sorted((SAMPLE / "images-small").glob("*.png"))[:40]:
        made.append(folder / path.name)
        with Image.open(path) as image:
            image.resize((side, side), Image.Resampling.BICUBIC).save(made[-1])
    return made, f"{len(made)} images of the sample data, scaled up to {side} × {side}"


def repeated(sources: list[Path], n: int, folder: Path) -> tuple[Path, Path]:
    """Link or copy images until there are `n` of them; return a table that names them all, and their folder."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows = ["Image,Effusion,Mass,PatientId"]
    for place in range(n):
        name = f"{place + 1:08}_000.png"
        link(sources[place % len(sources)], images / name)
        rows.append(f"{name},{place % 2},{int(place % 7 == 0)},{place + 1}")
    (folder / "images.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "images.csv", images


def link(source: Path, target: Path) -> None:
    """Hard-link, or copy where that is not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def nih_table(path: Path, n_rows: int = N_NIH, *, seed: int = 0) -> Path:
    """Write a made-up table in the form of NIH's, with as many images a patient as NIH has."""
    random = np.random.default_rng(seed)
    n_patients = max(1, round(n_rows * 30_805 / N_NIH))
    patients = np.sort(random.integers(1, n_patients + 1, n_rows)).tolist()
    found = random.random((n_rows, len(NIH_PATHOLOGIES))) < 0.05
    names = np.array(NIH_PATHOLOGIES)
    follow_ups: dict[int, int] = {}
    lines = [_COLUMNS]
    for patient, row in zip(patients, found, strict=True):
        number = follow_ups[patient] = follow_ups.get(patient, -1) + 1
        labels = "|".join(names[row]) or "No Finding"
        lines.append(f"{patient:08}_{number:03}.png,{labels},{number},{patient},50,M,PA,2500,2048,0.168,0.168")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def halves(table: Path, folder: Path) -> tuple[Path, Path]:
    """Deal the rows of a table out to two, image by image, so that they share patients."""
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    paths = folder / "train.csv", folder / "test.csv"
    for number, path in enumerate(paths):
        path.write_text("\n".join([header, *rows[number::2]]) + "\n", encoding="utf-8")
    return paths


def made_up_images(folder: Path, n: int, side: int = 256) -> None:
    """Write `n` images that differ: smooth noise, 8-bit grey."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(n)
    for place in range(n):
        coarse = Image.fromarray(random.integers(0, 256, (24, 24), dtype=np.uint8))
        smooth = coarse.resize((side, side), Image.Resampling.BICUBIC)
        smooth.save(folder / f"{place + 1:08}_000.png", compress_level=1)
