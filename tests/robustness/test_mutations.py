"""A small seeded part of ``python -m tests.robustness.mutate``, whose figures stand in docs/robustness.md."""

from __future__ import annotations

import pytest

from tests.robustness import mutate

NEEDED = {"TIFF": "tifffile", "JPEG": "simplejpeg", "HDF5": "pyfive"}


@pytest.mark.parametrize("name", mutate.FAMILIES)
def test_mutants_are_refused_or_read_as_an_independent_decoder_reads_them(tmp_path, quick_reader, name):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason=f"{NEEDED[name]} is not installed, which judges {name}")
    tally = mutate.run(mutate.FAMILIES[name](), 100, 2, tmp_path)
    assert tally.wrong == tally.tracebacks == 0, tally.examples
    assert tally.tried == 100 == tally.refused + tally.accepted
    assert tally.behind == 20
    assert tally.refused > 10
    assert tally.longest < 30


def test_the_judge_of_pngs_is_strict():
    for content in mutate.PNGS:
        mutate.strict_png(content)
    for place in range(8, len(mutate.PNGS[0])):
        content = bytearray(mutate.PNGS[0])
        content[place] ^= 4
        with pytest.raises((AssertionError, LookupError, ValueError, mutate.struct.error, mutate.zlib.error)):
            mutate.strict_png(bytes(content))
