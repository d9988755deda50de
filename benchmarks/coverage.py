"""How often intervals of ``cxr evaluate`` contain the true AUROC: a simulation of clustered data sets.

    python benchmarks/coverage.py                     # 1,000 data sets a cell; a quarter of an hour
    python benchmarks/coverage.py --data-sets 100

A data set has a number of patients with the finding and four times as many without. A patient has 1 to 40 images, every
number as likely ("even", mean 20.5) or with few images for most ("skewed": log-uniform, mean 11). Of the images of a
patient with the finding each shows it with probability 1/2, and at least one does. A score is a standard normal patient
effect times sqrt(1/2), plus noise times sqrt(1/2), plus a shift for positives that makes the AUROC of two images of
different patients 0.7 or 0.95. An interval of 95 % should contain it in 95 % of the data sets.

Intervals over images, which take longer, are made for the first --images data sets.
"""

from __future__ import annotations

import argparse
import json
from statistics import NormalDist

import numpy as np

from cxr_cli.services.metrics.bootstrap import RankStatistics, percentile_interval, replicate
from cxr_cli.services.metrics.contributions import auroc_contributions, degrees_of_freedom

POSITIVE_PATIENTS, AREAS, SIZES = (10, 20, 50, 200), (0.7, 0.95), ("even", "skewed")
MOST_IMAGES = 40


def draw(
    random: np.random.Generator, n_positive: int, area: float, sizes: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw labels, scores and patients of one data set."""
    n_patients = 5 * n_positive
    if sizes == "even":
        n_images = random.integers(1, MOST_IMAGES + 1, n_patients)
    else:
        n_images = np.exp(random.uniform(0, np.log(MOST_IMAGES + 1), n_patients)).astype(int)
    patients = np.repeat(np.arange(n_patients), n_images)
    labels = ((patients < n_positive) & (random.random(len(patients)) < 0.5)).astype(float)
    # The first image of each patient with the finding shows it.
    labels[(np.cumsum(n_images) - n_images)[:n_positive]] = 1
    shift = np.sqrt(2) * NormalDist().inv_cdf(area)
    effects, noise = random.normal(size=n_patients)[patients], random.normal(size=len(patients))
    return labels, np.sqrt(0.5) * (effects + noise) + shift * labels, patients


def contains(labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray, area: float, draws: int, seed: int) -> bool:
    """Whether the interval of one data set contains the true area."""
    statistics = RankStatistics(labels[:, None], scores[:, None], clusters)
    (values,) = replicate([statistics], int(clusters.max()) + 1, draws, seed=seed)
    moved = auroc_contributions(labels[:, None], scores[:, None], clusters)
    interval = percentile_interval(values[:, 0, 0], freedom=degrees_of_freedom(moved[:, 0]))
    return interval.low <= area <= interval.high


def coverage(
    n_positive: int, area: float, sizes: str, n_data_sets: int, draws: int, n_over_images: int
) -> tuple[float, float]:
    """Return the fraction of data sets whose interval contains the true area: draws of patients, and of images."""
    by_patient, by_image = [], []
    for seed in range(n_data_sets):
        random = np.random.default_rng([n_positive, round(1000 * area), SIZES.index(sizes), seed])
        labels, scores, patients = draw(random, n_positive, area, sizes)
        by_patient.append(contains(labels, scores, patients, area, draws, seed))
        if seed < n_over_images:
            by_image.append(contains(labels, scores, np.arange(len(patients)), area, draws, seed))
    return float(np.mean(by_patient)), float(np.mean(by_image)) if by_image else float("nan")


def main() -> None:
    """Print a row for each cell, and all of them as JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    rows = []
    for sizes in SIZES:
        for area in AREAS:
            for n_positive in POSITIVE_PATIENTS:
                found = coverage(n_positive, area, sizes, options.data_sets, options.draws, options.images)
                row = {"sizes": sizes, "auroc": area, "positive_patients": n_positive}
                rows.append({**row, "patients": found[0], "images": found[1]})
                where = f"{sizes} sizes, AUROC {area}, {n_positive:3} positive patients"
                print(f"{where}: {found[0]:.3f} over patients, {found[1]:.3f} over images", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
