"""Time DICOM images and headers beside pydicom's own functions.

    python benchmarks/dicom.py [--images 3] [--rounds 3] [--files 10000] [--size 320]

Images are drawings of the sample data scaled up to 2048 × 2048 (JPEG: 1024 × 1024, 8 bits) with grain, 12 bits in 16,
MONOCHROME1 with a window and a rescale. pydicom reads, decodes, applies modality LUT and VOI LUT and inverts; cxr reads
to grey; both resize by the same function. One process, no start-up. The peak memory of one 3000 × 3000 image of 16 bits
is that of a process of its own, beside one that only imports.

Headers: so many files (hard links to 200), the tags that a table of a DICOM folder needs, on all cores, in worker
processes that were started before.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from timing import functions_in_turns, headline, report

from cxr_cli.data.dicom.headers import _ALL_TAGS
from cxr_cli.data.images import read_gray
from cxr_cli.services.images.dicom_headers import CHUNK, read_headers
from cxr_cli.services.images.resize import area
from cxr_cli.services.parallel import Workers, available_cores

SAMPLE = Path(__file__).parent.parent / "sample_data" / "images-small"
SYNTAXES = {
    "uncompressed": "1.2.840.10008.1.2.1",
    "JPEG": "1.2.840.10008.1.2.4.50",
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}


def grey_image(path: Path, side: int, bits: int, seed: int) -> np.ndarray:
    """Return a drawing scaled up, with grain: uint16, or uint8 of eight bits."""
    with Image.open(path) as image:
        levels = np.asarray(image.convert("L").resize((side, side), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(seed).normal(0, 0.4, levels.shape)
    values = np.clip((levels / 255 * 0.9 + 0.05) * ((1 << bits) - 1) + grain * (1 << (bits - 8)), 0, (1 << bits) - 1)
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def dataset(values: np.ndarray, bits: int) -> Dataset:
    """Return a radiograph with the header that real ones have."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.826.0.1.3680043.10.9"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.3680043.10.9.1", "1.2.826.0.1.3680043.10.9.2"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.Modality = "20200101", "120000", "", "DX"
    ds.Manufacturer, ds.StudyDescription, ds.SeriesDescription = "Maker", "Chest", "PA"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "", "p1", ""
    ds.PatientSex, ds.PatientAge, ds.BodyPartExamined, ds.ViewPosition = "F", "058Y", "CHEST", "PA"
    ds.KVP, ds.ExposureTime, ds.ImagerPixelSpacing = "120", "10", [0.143, 0.143]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1"
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * values.itemsize, bits, bits - 1
    ds.PixelRepresentation = 0
    ds.WindowCenter, ds.WindowWidth = 1 << (bits - 1), 0.8 * (1 << bits)
    ds.RescaleIntercept, ds.RescaleSlope = 0, 1
    ds.PixelData = values.tobytes()
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = SYNTAXES["uncompressed"]
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def write(path: Path, values: np.ndarray, bits: int, syntax: str) -> None:
    """Write a DICOM file in a transfer syntax."""
    import imagecodecs

    ds = dataset(values, bits)
    frame = None
    if syntax == "JPEG":
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, "JPEG", quality=95)
        frame = stream.getvalue()
    elif syntax == "JPEG Lossless":
        frame = imagecodecs.jpeg8_encode(values, lossless=True, bitspersample=bits)
    elif syntax.startswith("JPEG 2000"):
        options: dict[str, Any] = {} if syntax.endswith("lossless") else {"level": 50}
        frame = imagecodecs.jpeg2k_encode(
            values, codecformat="J2K", bitspersample=bits, reversible=syntax.endswith("lossless"), **options
        )
    if frame is not None:
        ds.PixelData = encapsulate([frame])
        ds["PixelData"].is_undefined_length = True
        ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    ds.save_as(path, enforce_file_format=True)


def by_pydicom(paths: list[Path], size: int) -> None:
    """Read as one does with pydicom alone; whole numbers for the resizing, which wants them."""
    for path in paths:
        ds = pydicom.dcmread(path)
        grey = apply_voi_lut(apply_modality_lut(ds.pixel_array, ds), ds)
        grey = grey.max() - grey if ds.PhotometricInterpretation == "MONOCHROME1" else grey
        area(grey.astype(np.uint16), (size, size))


def by_cxr(paths: list[Path], size: int) -> None:
    """Read as every command does."""
    for path in paths:
        area(read_gray(path).pixels, (size, size))


def headers_by_pydicom(paths: list[Path]) -> int:
    """Read some headers; at module level for worker processes."""
    return sum(len(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_ALL_TAGS))) for path in paths)


def time_images(folder: Path, options: argparse.Namespace) -> None:
    """Print the table of images."""
    sources = sorted(SAMPLE.glob("*.png"))[: options.images]
    for syntax in SYNTAXES:
        side, bits = (1024, 8) if syntax == "JPEG" else (2048, 12)
        paths = []
        for number, source in enumerate(sources):
            paths.append(folder / f"{syntax} {number}.dcm")
            write(paths[-1], grey_image(source, side, bits, number), bits, syntax)
        timings = functions_in_turns(
            {
                "pydicom": functools.partial(by_pydicom, paths, options.size),
                f"cxr, {syntax}": functools.partial(by_cxr, paths, options.size),
            },
            options.rounds,
        )
        print(f"\n{syntax}, {side} × {side}, {bits} bits, {len(paths)} images")
        report(timings, "pydicom")


def time_headers(folder: Path, options: argparse.Namespace) -> None:
    """Print the table of headers."""
    values = np.zeros((64, 64), np.uint16)
    for number in range(200):
        write(folder / f"{number}.dcm", values, 12, "uncompressed")
    paths = []
    for number in range(options.files):
        paths.append(folder / f"link{number}.dcm")
        os.link(folder / f"{number % 200}.dcm", paths[-1])
    cores = available_cores()
    parts = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    with ProcessPoolExecutor(cores) as pool, Workers(cores) as workers:
        timings = functions_in_turns(
            {
                "pydicom": lambda: sum(pool.map(headers_by_pydicom, parts)),
                "cxr, headers": lambda: read_headers(paths, executor=workers),
                "cxr, headers in one process": lambda: read_headers(paths),
            },
            options.rounds,
        )
    print(f"\nHeaders of {len(paths):,} files, {cores} cores")
    report(timings, "pydicom")


def measure_memory(folder: Path) -> None:
    """Print the peak memory of reading one large image."""
    path = folder / "large.dcm"
    write(path, np.random.default_rng(0).integers(0, 65536, (3000, 3000)).astype(np.uint16), 16, "uncompressed")
    code = (
        "import re, sys; from cxr_cli.data.images import read_gray; import pydicom; import pydicom.pixels\n"
        "from cxr_cli.services.images.prepare import Recipe, prepare_image\n"
        "if len(sys.argv) > 1: prepare_image(sys.argv[1], Recipe())\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
    )
    peaks = [
        float(subprocess.run([sys.executable, "-c", code, *rest], capture_output=True, text=True, check=True).stdout)
        for rest in ([], [str(path)])
    ]
    print(f"\nOne image of 3000 × 3000, 16 bits (18 MB): {peaks[1]:.0f} MB at most, {peaks[0]:.0f} MB of them imports")
    headline("memory above imports, in sizes of the pixels", [(peaks[1] - peaks[0]) / 17.2])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=320)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        time_images(Path(folder), options)
        measure_memory(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        time_headers(Path(folder), options)


if __name__ == "__main__":
    main()
