"""Synthetic DICOM files of every kind that the tests need, written by pydicom and compressed by the decoders' twins."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

UIDS = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG": "1.2.840.10008.1.2.4.50",
    "JPEG Lossless": "1.2.840.10008.1.2.4.57",
    "JPEG Lossless SV1": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG-LS near": "1.2.840.10008.1.2.4.81",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}
#: Two more that the tests write themselves.
_MORE_UIDS = {"HTJ2K": "1.2.840.10008.1.2.4.201", "JPEG Extended": "1.2.840.10008.1.2.4.51"}
#: Transfer syntaxes that keep every value.
LOSSLESS = [name for name in UIDS if name not in ("JPEG", "JPEG-LS near", "JPEG 2000")]


def ramp(bits: int, *, signed: bool = False, shape: tuple[int, int] = (40, 36), seed: int = 0) -> np.ndarray:
    """Return values over the whole range of so many bits, both ends included, shape `shape`."""
    lowest, highest = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    values = np.random.default_rng(seed).integers(lowest, highest + 1, shape)
    values[0, :2] = lowest, highest
    size = 8 if bits <= 8 else 16 if bits <= 16 else 32
    return values.astype(f"{'i' if signed else 'u'}{size // 8}")


def dataset(
    values: np.ndarray, *, bits: int | None = None, photometric: str = "MONOCHROME2", **elements: Any
) -> Dataset:
    """Return an uncompressed data set; `elements` are further keywords and values, None leaves one out."""
    size = 8 * values.dtype.itemsize
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.SOPInstanceUID = "1.2.826.0.1.3680043.10.1.1"
    ds.StudyInstanceUID = "1.2.826.0.1.3680043.10.1"
    ds.Modality = "DX"
    ds.PatientID = "p1"
    ds.SamplesPerPixel = 1 if values.ndim == 2 else 3
    if values.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = values.shape[:2]
    ds.BitsAllocated = size
    ds.BitsStored = bits or size
    ds.HighBit = (bits or size) - 1
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    ds.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def encoded(ds: Dataset, syntax: str = "explicit") -> bytes:
    """Write a data set in a transfer syntax."""
    ds = pydicom.Dataset(ds)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    if syntax == "RLE":
        return _compressed_by_pydicom(ds, syntax, "pydicom")
    if syntax == "JPEG 2000 lossless":
        return _compressed_by_pydicom(ds, syntax, "pylibjpeg")
    if syntax == "JPEG 2000":
        return _compressed_by_pydicom(ds, syntax, "pylibjpeg", j2k_cr=[4])
    if syntax == "JPEG":
        kind = "L" if ds.SamplesPerPixel == 1 else "RGB"
        image = Image.frombytes(kind, (ds.Columns, ds.Rows), ds.PixelData)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=95)
        return _written(_with_fragments(ds, [stream.getvalue()]), syntax)
    if syntax.startswith("JPEG"):
        return _compressed_by_gdcm(_written(ds, "explicit"), syntax)
    if syntax == "big endian" and ds.BitsAllocated > 8:
        ds.PixelData = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}").byteswap().tobytes()
    return _written(ds, syntax)


def dicom(values: np.ndarray, *, syntax: str = "explicit", **options: Any) -> bytes:
    """Return a DICOM file of an array; options as of `dataset`."""
    return encoded(dataset(values, **options), syntax)


def lut(entries: list[int] | np.ndarray, *, first: int = 0, bits: int = 16, signed: bool = False) -> Dataset:
    """Return an item of a lookup table sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def _with_fragments(ds: Dataset, frames: list[bytes]) -> Dataset:
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    return ds


def _written(ds: Dataset, syntax: str) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = (UIDS | _MORE_UIDS)[syntax]
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _compressed_by_pydicom(ds: Dataset, syntax: str, plugin: str, **options: Any) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UIDS["explicit"]
    ds.compress(UIDS[syntax], encoding_plugin=plugin, generate_instance_uid=False, **options)
    return _written(ds, syntax)


def _compressed_by_gdcm(content: bytes, syntax: str) -> bytes:
    import gdcm

    kinds = gdcm.TransferSyntax
    kind = {
        "JPEG Lossless": kinds.JPEGLosslessProcess14,
        "JPEG Lossless SV1": kinds.JPEGLosslessProcess14_1,
        "JPEG-LS": kinds.JPEGLSLossless,
        "JPEG-LS near": kinds.JPEGLSNearLossless,
    }[syntax]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "a.dcm", Path(folder) / "b.dcm"
        source.write_bytes(content)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(source))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        assert change.Change(), syntax
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(target))
        assert writer.Write()
        # Only the codestream is taken: gdcm rewrites what is beside it.
        made = pydicom.dcmread(target)
        original = pydicom.dcmread(io.BytesIO(content))
        frame = pydicom.encaps.get_frame(made.PixelData, 0, number_of_frames=1)
        return _written(_with_fragments(original, [frame]), syntax)
