"""Time and memory of the patient bootstrap of ``cxr evaluate``, beside scikit-learn called for every draw.

    python benchmarks/evaluate.py [--draws 1000] [--slow-draws 20] [--largest 112120]

14 pathologies, AUROC and average precision. With CXR_REAL_DATA the predictions are those of two published models
(6,373 and 22,433 images); otherwise they are made up with the same numbers of images and patients. scikit-learn gets
the images of each draw of patients and is called for each pathology on --slow-draws draws; its time is scaled. Both run
alternately on the same machine. Then: growth to 112,120 images, and peak memory of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cxr_cli.services.metrics.bootstrap import RankStatistics, clusters_of, draw_counts, replicate
from cxr_cli.services.parallel import available_cores

#: Images and patients of the two published test sets, and of all of ChestX-ray14.
SETS = ((6373, 1835), (22433, 6186))
LARGEST = (112120, 30805)
N_PATHOLOGIES = 14


def made_up(n_images: int, n_patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw labels, scores and patients with prevalences like those of ChestX-ray14."""
    random = np.random.default_rng(n_images)
    patients = np.concatenate([np.arange(n_patients), random.integers(0, n_patients, n_images - n_patients)])
    prevalence = np.geomspace(0.002, 0.18, N_PATHOLOGIES)
    labels = (random.random((n_images, N_PATHOLOGIES)) < prevalence).astype(float)
    scores = 1 / (1 + np.exp(-(random.normal(size=labels.shape) + 1.2 * labels - 3)))
    return labels, scores.astype(np.float32).astype(float), clusters_of(patients)


def published() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return labels, scores and patients of two published models; empty without the real data."""
    real = Path(os.environ.get("CXR_REAL_DATA", ""))
    names = ("nih-five-models/seed11/preds.csv.gz", "reproduce-chexnet/preds.csv.gz")
    if not all((real / "predictions" / name).is_file() for name in names):
        return []
    from cxr_cli.data.labels import read_labels
    from cxr_cli.data.predictions import read_predictions
    from cxr_cli.services.evaluate.inputs import build, truth_of_table

    truth = truth_of_table(read_labels(real / "nih" / "Data_Entry_2017_v2020.csv.gz"))
    found = []
    for name in names:
        data = build({"model": [read_predictions(real / "predictions" / name)]}, truth)
        kept = [column for column, item in enumerate(data.pathologies) if item != "No Finding"]
        found.append((data.labels[:, kept], data.models[0].scores[0][:, kept], data.clusters))
    return found


def ours(data: tuple[np.ndarray, np.ndarray, np.ndarray], draws: int, workers: int) -> float:
    """Return the seconds of all draws, sorting included."""
    labels, scores, clusters = data
    begin = time.perf_counter()
    replicate([RankStatistics(labels, scores, clusters)], int(clusters.max()) + 1, draws, workers=workers)
    return time.perf_counter() - begin


def theirs(data: tuple[np.ndarray, np.ndarray, np.ndarray], draws: int) -> float:
    """Return the seconds of scikit-learn for some draws."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels, scores, clusters = data
    begin = time.perf_counter()
    for draw in range(draws):
        counts = draw_counts(int(clusters.max()) + 1, 1, seed=draw)[0]
        images = np.repeat(np.arange(len(clusters)), counts[clusters])
        drawn, predicted = labels[images], scores[images]
        for column in range(labels.shape[1]):
            if 0 < drawn[:, column].sum() < len(images):
                roc_auc_score(drawn[:, column], predicted[:, column])
                average_precision_score(drawn[:, column], predicted[:, column])
    return time.perf_counter() - begin


def memory_of(n_images: int, n_patients: int, draws: int) -> float:
    """Return the peak memory in MB of a fresh process that makes up a test set and draws patients."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import evaluate as e; "
        f"e.ours(e.made_up({n_images}, {n_patients}), {draws}, {available_cores()}); print(e.peak())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True)
    done.check_returncode()
    return float(done.stdout)


def peak() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    """Print one line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--slow-draws", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=LARGEST[0])
    options = parser.parse_args()
    cores = available_cores()
    sets = published() or [made_up(*size) for size in SETS]
    for data in sets:
        ratios, seconds = [], []
        for _ in range(options.rounds):
            slow = theirs(data, max(1, options.slow_draws // options.rounds)) * options.draws
            slow /= max(1, options.slow_draws // options.rounds)
            fast = ours(data, options.draws, cores)
            ratios.append(slow / fast)
            seconds.append(fast)
        alone = ours(data, options.draws, 1)
        print(
            f"{len(data[2]):,} images of {int(data[2].max()) + 1:,} patients, {options.draws:,} draws: "
            f"{np.median(seconds):.2f} s on {cores} cores ({alone:.2f} s on one), "
            f"{np.median(ratios):.0f} times scikit-learn ({min(ratios):.0f} to {max(ratios):.0f})"
        )
    for part in (16, 4, 1):
        n_images, n_patients = options.largest // part, options.largest * LARGEST[1] // LARGEST[0] // part
        seconds_taken = ours(made_up(n_images, n_patients), options.draws, cores)
        memory = memory_of(n_images, n_patients, min(options.draws, 200))
        print(f"{n_images:,} images, {options.draws:,} draws: {seconds_taken:.2f} s, peak memory {memory:.0f} MB")


if __name__ == "__main__":
    main()
