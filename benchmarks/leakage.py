"""Measure check-leakage: all pairs of 112,120 hashes, the time per image, and a whole run on NIH's table.

    python benchmarks/leakage.py [--hashes 112120] [--images 160]

Images are the real ones in the folder that CXR_REAL_DATA names, or else the sample data; the whole run needs the real
table. Everything is shown as a ratio to something simple that is run beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from timing import headline

from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import read_labels
from cxr_cli.services.check_leakage.fingerprints import fingerprint_image
from cxr_cli.services.check_leakage.hamming import near_pairs
from cxr_cli.services.parallel import Workers, map_in_order

ROOT = Path(__file__).parent.parent
N_PLANTED = 1000
MAX_DISTANCE = 60
#: Words complemented by mirroring, turning by 180 degrees and inverting, and by all of these together.
ORIENTATIONS = np.array(
    [[row * a ^ column * b ^ c for row in (0, 1) for column in (0, 1)] for a in (0, 1) for b in (0, 1) for c in (0, 1)],
    dtype=bool,
)


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare_hashes(n_hashes: int) -> None:
    """Search the upper half of all pairs (every row block with what follows it) for planted neighbours."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (n_hashes, 4), dtype=np.uint64)
    originals = random.permutation(n_hashes)[: 2 * N_PLANTED].reshape(2, N_PLANTED)
    bits = np.unpackbits(hashes[originals[0]].view(np.uint8), axis=1)
    for row in bits:
        row[random.choice(256, random.integers(0, MAX_DISTANCE + 1), replace=False)] ^= 1
    hashes[originals[1]] = np.packbits(bits, axis=1).view(np.uint64)
    planted = {(min(pair), max(pair)) for pair in originals.T.tolist()}
    before = peak_memory()
    found: set[tuple[int, int]] = set()
    n_pairs = 0

    def search() -> None:
        nonlocal n_pairs
        step = 8192
        for start in range(0, n_hashes, step):
            first, second = hashes[start : start + step], hashes[start:]
            n_pairs += len(first) * len(second)
            for pairs in near_pairs(first, second, MAX_DISTANCE, flips=ORIENTATIONS):
                later = pairs.second > pairs.first
                one, other = pairs.first[later] + start, pairs.second[later] + start
                found.update(zip(one.tolist(), other.tolist(), strict=True))

    took = seconds(search)
    sample = hashes[:200]
    naive = seconds(lambda: [np.bitwise_count(row ^ hashes).sum(axis=1).min() for row in sample])
    naive *= n_pairs / (len(sample) * n_hashes)
    print(f"{n_hashes:,} hashes of 256 bits, {n_pairs:,} pairs, mirrored, turned and inverted ones included")
    print(f"  search             {took:7.1f} s   {took / n_pairs * 1e9:.2f} ns a pair")
    print(f"  row by row, NumPy  {naive:7.1f} s   (from {len(sample)} rows)   ratio {naive / took:.1f}")
    print(f"  more memory at the peak: {peak_memory() - before:.0f} MB (the hashes: {hashes.nbytes / 1e6:.1f} MB)")
    print(f"  recall of {len(planted):,} planted pairs: {len(planted & found) / len(planted):.4f}")
    print(f"  found besides: {len(found - planted):,}")
    headline("comparing hashes row by row with NumPy, against cxr's search", [naive / took])


def fingerprint_images(images: list[Path], n_images: int) -> None:
    """Compare taking fingerprints with bare decoding."""
    paths = (images * (n_images // len(images) + 1))[:n_images]

    def with_pillow(path: Path) -> object:
        with Image.open(path) as image:
            return np.asarray(image.convert("L"))

    def run(function: Callable[[Path], object], executor: Workers | None = None) -> float:
        return seconds(lambda: list(map_in_order(function, paths, lost=str, executor=executor))) / len(paths) * 1e3

    rounds = [(run(read_gray), run(fingerprint_image), run(with_pillow)) for _ in range(3)]
    bare, whole, pillow = (min(values) for values in zip(*rounds, strict=True))
    print(f"{len(paths)} images, milliseconds per image")
    print(f"  bare decoding (read_gray)     {bare:6.2f}")
    print(f"  decoding with Pillow          {pillow:6.2f}   ratio {pillow / bare:.2f}")
    print(f"  fingerprint, one process      {whole:6.2f}   ratio {whole / bare:.2f}")
    headline("fingerprint of an image, against decoding it", [whole / bare for bare, whole, _ in rounds])
    with Workers() as workers:
        run(fingerprint_image, workers)  # they start
        parallel = min(run(fingerprint_image, workers) for _ in range(3))
    print(f"  fingerprint, all cores        {parallel:6.2f}   ratio {parallel / bare:.2f}")


def whole_run(labels: Path) -> None:
    """Split NIH's table by image and check it, beside a script that reads the same two files."""
    table = read_labels(labels)
    in_test = np.zeros(table.n_images, dtype=bool)
    in_test[np.random.default_rng(0).permutation(table.n_images)[: table.n_images // 5]] = True
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("train", ~in_test), ("test", in_test)):
            Path(folder, f"{name}.csv").write_bytes(table.raw.select(np.flatnonzero(rows).tolist()))
        script = "import pandas as pd; pd.read_csv('train.csv'); pd.read_csv('test.csv')"
        cxr = [sys.executable, "-m", "cxr_cli", "check-leakage", "train", "test", "--no-plots"]

        def run(command: list[str]) -> float:
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            return seconds(lambda: subprocess.run(command, cwd=folder, capture_output=True, env=environment))

        rounds = [(run([sys.executable, "-c", script]), run(cxr), run([*cxr, "--json"])) for _ in range(5)]
        bare, text, document = (min(values) for values in zip(*rounds, strict=True))
    print(f"{table.n_images:,} rows in two tables, seconds end to end")
    print(f"  import pandas, read both      {bare:6.2f}")
    print(f"  cxr check-leakage             {text:6.2f}   ratio {text / bare:.2f}")
    print(f"  cxr check-leakage --json      {document:6.2f}   ratio {document / bare:.2f}")
    headline("cxr check-leakage, against importing pandas and reading both", [text / bare for bare, text, _ in rounds])


def main() -> None:
    """Run all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hashes", type=int, default=112_120)
    parser.add_argument("--images", type=int, default=160)
    options = parser.parse_args()
    compare_hashes(options.hashes)
    real = Path(os.environ["CXR_REAL_DATA"]) / "nih" if "CXR_REAL_DATA" in os.environ else None
    folder = real / "images-small" if real else ROOT / "sample_data" / "images-small"
    fingerprint_images(sorted(folder.glob("0*.png")), options.images)
    if real:
        whole_run(real / "Data_Entry_2017_v2020.csv.gz")


if __name__ == "__main__":
    main()
