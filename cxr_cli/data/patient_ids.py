"""Patient ids in one normal form, and those that the image names of ChestX-ray14 hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def normal_patient_id(text: str) -> str:
    """Return the one normal form of a patient id: ``00013118``, ``13118`` and ``13118.0`` are the same patient.

    Examples
    --------
    >>> normal_patient_id(" 00013118 "), normal_patient_id("13118.0"), normal_patient_id("p07")
    ('13118', '13118', 'p07')
    """
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        number = re.fullmatch(r"([0-9]+)\.0*", text)
        if number is None:
            return text
        text = number[1]
    return text.lstrip("0") or "0"


def patient_of_nih_name(name: str) -> str | None:
    """Return the patient id in an NIH image name (``00000013_005.png`` -> ``13``), or None.

    Examples
    --------
    >>> patient_of_nih_name("00000013_005.png"), patient_of_nih_name("view1_frontal.jpg")
    ('13', None)
    """
    match = re.fullmatch(r"(\d{8})_\d{3}\.\w+", name.rpartition("/")[2], flags=re.ASCII)
    return normal_patient_id(match[1]) if match else None


def nih_numbers(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the digits of names such as ``00000013_005.png`` as one number, 13005, and -1 for any other name."""
    codes = _letters(names, 14)
    digits = codes[:, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]] - ord("0")  # uint8: below "0" wraps round to more than 9
    like_nih = (digits.max(axis=1) <= 9) & (codes[:, 8] == ord("_")) & (codes[:, 12] == ord("."))
    # Eleven digits are exact in float64, in which NumPy's products are fast.
    values = digits.astype(np.float64) @ 10.0 ** np.arange(10, -1, -1)
    return np.where(like_nih, values, -1).astype(np.int64)


def _letters(names: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Return the first letters of each name, shape (n_names, width); 0 behind its end, "?" for what is not ASCII."""
    text = "\n".join(names)
    size = len(names[0]) + 1
    if text.isascii() and size > width and len(text) + 1 == len(names) * size:
        # Most tables have names of one length: their text, cut into lines, is a matrix already.
        lines = np.frombuffer(text.encode() + b"\n", dtype=np.uint8).reshape(len(names), size)
        if (lines[:, -1] == ord("\n")).all() and text.count("\n") == len(names) - 1:
            return lines[:, :width]
    letters = np.array([name[:width].encode("ascii", "replace") for name in names], dtype=f"S{width}")
    return letters.view(np.uint8).reshape(len(names), width)
