"""Fuzz `read_labels` for as long as wanted: ``python -m tests.robustness.fuzz --seconds 300 --keep FOLDER``.

With atheris installed the mutations are guided by the coverage of ``cxr_cli.data``; ``--own`` uses the seeded mutator
of the tests, which knows what tables look like. What breaks the promise is written to the folder, named by its
SHA-256, for ``tests/robustness/corpus``.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

OPTIONS = [
    {},
    {"uncertain": "positive"},
    {"schema": "course"},
    {"schema": "chexpert", "uncertain": "negative"},
    {"allow_unsafe_names": True},
    {"allow_image_list": True},
    {"allow_image_list": True, "allow_unsafe_names": True},
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--own", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (run_own if options.own else run_atheris)(options, Path(folder))


def attempt(content: bytes, which: int, folder: Path, keep: Path, seen: set[str]) -> bool:
    from tests.robustness.oracle import check

    options = OPTIONS[which % len(OPTIONS)]
    suffix = ".txt" if options.get("allow_image_list") else ".csv"
    try:
        check(folder / f"t{suffix}", content, **options)
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
        signature = f"{type(error).__name__} {places[-2:]}"
        if signature not in seen:
            seen.add(signature)
            keep.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(content).hexdigest()[:12]
            (keep / f"{name}{suffix}").write_bytes(content)
            print(f"BROKEN {name}{suffix} {options} {signature}: {str(error)[:300]}", flush=True)
        return True
    return False


def run_own(options: argparse.Namespace, folder: Path) -> None:
    from tests.robustness.mutants import mutated
    from tests.robustness.seeds import ARCHIVES, LIST, TABLES

    random_ = random.Random(options.seed)
    seeds = [*TABLES * 4, LIST, *ARCHIVES]
    seen: set[str] = set()
    n = broken = 0
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        which = random_.randrange(len(OPTIONS))
        content = mutated(random_.choice(seeds), random_, 4)
        broken += attempt(content, which, folder, options.keep, seen)
        n += 1
    print(f"{n} tables, {broken} broke the promise in {len(seen)} ways")


def run_atheris(options: argparse.Namespace, folder: Path) -> None:
    import atheris
    import pandas  # noqa: F401  before instrumentation: its Python code is not what is under test

    with atheris.instrument_imports(include=["cxr_cli.data"]):
        import cxr_cli.data.labels  # noqa: F401
    from tests.robustness.mutants import WORDS
    from tests.robustness.seeds import ARCHIVES, LIST, TABLES

    corpus = folder / "corpus"
    corpus.mkdir()
    for index, content in enumerate([*TABLES, LIST, *ARCHIVES]):
        (corpus / str(index)).write_bytes(bytes([index]) + content)
    words = folder / "words"
    words.write_text("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in WORDS))
    seen: set[str] = set()

    def one(data: bytes) -> None:
        if data:
            attempt(data[1:], data[0], folder, options.keep, seen)

    limits = [f"-max_total_time={options.seconds:.0f}", f"-seed={options.seed}", "-max_len=4096", f"-dict={words}"]
    atheris.Setup([sys.argv[0], *limits, "-rss_limit_mb=4096", "-timeout=20", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
