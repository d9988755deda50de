"""Headers of the OpenI collection: a synthetic file for each distinct combination comes out right."""

from __future__ import annotations

import ast
import csv

import numpy as np

from cxr_cli.data.dicom.image import decode
from tests.data.dicom.synthetic import dicom, lut, ramp

COLUMNS = (
    "Photometric Interpretation",
    "Bits Stored",
    "High Bit",
    "Pixel Representation",
    "Presentation LUT Shape",
    "Rescale Slope",
    "Rescale Intercept",
    "Window Center",
    "Window Width",
    "LUT Descriptor",
)


def expected_grey(values, photometric, window, table):
    """Work out the fraction of white in the order of the standard, without rescale (it is 1 and 0 in all of them)."""
    if table is not None:
        n_entries, first, bits, entries = table
        fractions = entries[np.clip(values.astype(int) - first, 0, n_entries - 1)] / (2**bits - 1)
    elif window is not None:
        fractions = np.clip((values - (window[0] - 0.5)) / (window[1] - 1) + 0.5, 0, 1)
    else:
        ordered, skipped = np.sort(values, axis=None).astype(float), values.size // 1000
        low, high = ordered[skipped], ordered[-1 - skipped]
        fractions = np.clip((values - low) / (high - low), 0, 1)
    return 1 - fractions if photometric == "MONOCHROME1" else fractions


def test_every_distinct_header(real_data):
    with (real_data / "tables" / "openi_dicom_metadata.csv").open(newline="", encoding="utf-8") as stream:
        combinations = sorted({tuple(row[name] for name in COLUMNS) for row in csv.DictReader(stream)})
    assert len(combinations) > 10
    for photometric, stored, high, signed, shape, slope, intercept, centre, width, descriptor in combinations:
        bits = int(stored)
        values = ramp(bits, shape=(50, 60))
        elements = {"HighBit": int(high), "PixelRepresentation": int(signed)}
        window = table = None
        if shape:
            elements["PresentationLUTShape"] = shape
        if slope:
            elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
        if centre:
            window = float(centre), float(width)
            elements |= {"WindowCenter": centre, "WindowWidth": width}
        if descriptor:
            n_entries, first, depth = (int(number) for number in ast.literal_eval(descriptor))
            table = n_entries, first, depth, np.linspace(0, 2**depth - 1, n_entries).astype(np.uint16)
            elements["VOILUTSequence"] = [lut(table[3], first=first, bits=depth)]
        image = decode(dicom(values, bits=bits, photometric=photometric, **elements))
        expected = expected_grey(values, photometric, window, table)
        np.testing.assert_allclose(image.pixels / 65535, expected, atol=0.51 / 65535, err_msg=f"{elements}")
        agrees = shape in ("", {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric])
        assert ("contradictory presentation LUT shape" in image.issues) == (not agrees)
        assert ("no rescale" in image.issues) == (not slope)
