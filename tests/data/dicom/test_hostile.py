"""Mutated files are refused for a reason of the closed list, or read; decoders write nothing on their own."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import get_args

import pytest

from cxr_cli.data.dicom.image import decode
from cxr_cli.data.dicom.terms import DicomRefused, Issue, Reason
from tests.conftest import ROOT
from tests.data.dicom.synthetic import UIDS, dicom, lut, ramp


def seeds() -> list[bytes]:
    """Return one file of each transfer syntax, small, with everything that is read in its header."""
    elements = {
        "WindowCenter": [2048, 100],
        "WindowWidth": [4096, 50],
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "PixelPaddingValue": 0,
        "PresentationLUTShape": "IDENTITY",
        "VOILUTFunction": "SIGMOID",
    }
    made = [dicom(ramp(8), syntax=name, **elements) for name in UIDS]
    made += [dicom(ramp(12), bits=12, syntax=name, **elements) for name in UIDS if name != "JPEG"]
    made.append(dicom(ramp(8), VOILUTSequence=[lut(list(range(256)), bits=8)]))
    made.append(
        dicom(ramp(12, signed=True), bits=12, ModalityLUTSequence=[lut(list(range(4096)), first=-2048, signed=True)])
    )
    return made


def mutated(content: bytes, random_: random.Random) -> bytes:
    """Turn bits, overwrite, cut, repeat; twice as often near the beginning, where the header is."""
    made = bytearray(content)
    for _ in range(random_.randint(1, 4)):
        end = len(made) if random_.random() < 0.5 else min(len(made), 700)
        at = random_.randrange(132, max(133, end))
        kind = random_.randrange(5)
        if kind == 0:
            made[at : at + 1] = bytes([made[at] ^ (1 << random_.randrange(8))]) if at < len(made) else b""
        elif kind == 1:
            made[at : at + 4] = random_.choice([b"\0" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", random_.randbytes(4)])
        elif kind == 2:
            del made[at : at + random_.choice([1, 2, 8, 100])]
        elif kind == 3:
            made[at:at] = made[max(0, at - 20) : at]
        else:
            del made[at:]
    return bytes(made)


def attempt(content: bytes) -> str:
    """Decode; return what came of it."""
    try:
        image = decode(content)
    except DicomRefused as refused:
        assert refused.reason in get_args(Reason)
        assert "\n" not in str(refused)
        return refused.reason
    assert set(image.issues) <= set(get_args(Issue))
    assert image.pixels.ndim == 2 and image.pixels.dtype.name in ("uint8", "uint16")
    return "read"


@pytest.mark.parametrize("which", range(len(UIDS) * 2 + 1))
def test_mutants_are_read_or_refused(which):
    content = seeds()[which]
    random_ = random.Random(which)
    outcomes = {attempt(mutated(content, random_)) for _ in range(150)}
    assert "read" in outcomes and len(outcomes) > 2


@pytest.mark.slow
def test_decoders_write_nothing_past_the_console():
    code = (
        "import random; from tests.data.dicom.test_hostile import *\n"
        "random_ = random.Random(5); files = seeds()\n"
        "print(len([attempt(mutated(files[n % len(files)], random_)) for n in range(2000)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("2000\n", "")
