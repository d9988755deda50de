"""Seeded mutations of tables and images: the same seed gives the same damage on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: Words that tables in the wild, spreadsheets and attackers put where they should not be.
_PLAIN = """
NA None null nan NaN NULL <NA> N/A inf -inf Infinity True False TRUE
0 1 -1 -1.0 1.0 0.0 -0 +1 1e0 1e5 1E400 0x1 1_0 2 01 1. .0
9007199254740993 18446744073709551616 -9223372036854775809 414 -5 058Y 013M 001D 5.5Y
² ٣ １ é 🫁 ; | || \\ , ,, " "" ","
../ ..\\ /etc/passwd C:\\ ~/ %2e%2e/ file:// a/../../b.png [bold] [/] {0} %s =1+1
Mass Mass|Edema Masss mass Image Path PatientId Sex Age image patient_id age sex view follow_up index
00000013_005.png 00000013_005 M Male PA patient00001/
""".encode().split()
WORDS = [
    *_PLAIN,
    *(b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\n", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x1a", b"\x1b[31m", b"\x7f"),
    *(b"\xff", b"\xc3", b"\x85", b"\xed\xa0\x80"),
    *(sign.encode() for sign in "\u00a0\u2028\u3000\ufeff\u202e"),
    *(b"9" * 19, b"9" * 40, b"9" * 400, b"1" + b"0" * 400),
    *(b"No Finding", b"Image Index", b"Patient ID", b"Finding Labels", b"View Position", b"Unnamed: 0"),
]


def mutated(seed_text: bytes, random_: random.Random, most: int = 6) -> bytes:
    """Return a text with one to `most` small damages."""
    text = bytearray(seed_text)
    for _ in range(random_.randint(1, most)):
        text = _mutate_once(text, random_)
    return bytes(text)


def _mutate_once(text: bytearray, random_: random.Random) -> bytearray:
    place = random_.randrange(len(text) + 1)
    end = min(len(text), place + random_.choice((1, 1, 2, 4, 16, 64)))
    kind = random_.randrange(9)
    if kind == 0:  # a word inside a cell
        text[place:place] = random_.choice(WORDS)
    elif kind == 1:  # a word for some bytes
        text[place:end] = random_.choice(WORDS)
    elif kind == 2:  # a word for a whole cell
        first = max(text.rfind(b",", 0, place), text.rfind(b"\n", 0, place)) + 1
        stops = [stop for stop in (text.find(b",", place), text.find(b"\n", place)) if stop >= 0]
        text[first : min(stops, default=len(text))] = random_.choice(WORDS)
    elif kind == 3:  # bytes lost
        del text[place:end]
    elif kind == 4:  # bytes twice
        text[place:place] = text[place:end]
    elif kind == 5 and place < len(text):  # a bit turned
        text[place] ^= 1 << random_.randrange(8)
    elif kind == 6:  # cut off
        if random_.random() < 0.3:
            del text[place:]
    elif kind == 7:  # a line moved elsewhere
        lines = text.split(b"\n")
        lines.insert(random_.randrange(len(lines)), lines.pop(random_.randrange(len(lines))))
        text = bytearray(b"\n").join(lines)
    elif kind == 8:  # another byte
        text[place:end] = bytes(random_.randrange(256) for _ in range(end - place))
    return text


def mutants(seeds: list[bytes], n: int, seed: int, most: int = 6) -> Iterator[bytes]:
    """Yield `n` damaged versions of the seeds in turn."""
    random_ = random.Random(seed)
    for index in range(n):
        yield mutated(seeds[index % len(seeds)], random_, most)
