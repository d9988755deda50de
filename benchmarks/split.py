"""Compare the division of `cxr split` with what else people use, on the same table.

    python benchmarks/split.py [LABELS] [--seeds 5]

LABELS defaults to NIH's table of 112,120 images in the folder that CXR_REAL_DATA names, or else to the sample data.
Peers that are not installed are skipped: pip install scikit-learn iterative-stratification.

Every method makes train, valid and test of 70, 10 and 20 % and keeps patients whole. Deviation is
(positives - target) / target over pathologies and splits; a miss in size is the largest |images - target| of a
split. Times are ratios to cxr's, run in the same process.
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from inputs import table_parser

from cxr_cli.data.labels import read_labels
from cxr_cli.services.split.stratify import assign_units, count_per_unit

Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.float32]
SHARES = np.array([0.7, 0.1, 0.2])


def cxr(patients: Ints, labels: Labels, seed: int) -> Ints:
    """Divide as the command does."""
    return assign_units(count_per_unit(patients, labels), SHARES, seed=seed)[patients]


def random_patients(patients: Ints, labels: Labels, seed: int) -> Ints:
    """Draw patients, not looking at labels."""
    n_patients = patients.max() + 1
    place = np.random.default_rng(seed).permutation(n_patients) / n_patients
    return np.searchsorted(np.cumsum(SHARES)[:-1], place, side="right")[patients]


def group_shuffle_split(patients: Ints, labels: Labels, seed: int) -> Ints:
    """Draw patients with scikit-learn's splitter."""
    from sklearn.model_selection import GroupShuffleSplit

    def cut(rows: Ints, share: float) -> Ints:
        _, test = next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(rows, groups=patients[rows]))
        return rows[test]

    split = np.zeros(len(patients), dtype=np.int64)
    split[cut(np.arange(len(patients)), SHARES[2])] = 2
    split[cut(np.flatnonzero(split == 0), SHARES[1] / (1 - SHARES[2]))] = 1
    return split


def iterative_stratification(patients: Ints, labels: Labels, seed: int) -> Ints:
    """Stratify patients by the labels they ever had."""
    # It knows no groups: patients are its samples, with a label where any of their images has it.
    from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit

    ever = count_per_unit(patients, labels)[:, : labels.shape[1]] > 0

    def cut(rows: Ints, share: float) -> Ints:
        splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
        _, test = next(splitter.split(np.zeros(len(rows)), ever[rows].astype(int)))
        return rows[test]

    split = np.zeros(len(ever), dtype=np.int64)
    split[cut(np.arange(len(ever)), SHARES[2])] = 2
    split[cut(np.flatnonzero(split == 0), SHARES[1] / (1 - SHARES[2]))] = 1
    return split[patients]


def stratified_group_kfold(patients: Ints, labels: Labels, seed: int) -> Ints:
    """Stratify groups by one label an image."""
    # It takes one label an image: the rarest of its findings. Ten folds are dealt out 7 : 1 : 2.
    from sklearn.model_selection import StratifiedGroupKFold

    totals = np.nansum(labels, axis=0)
    rarest = np.where(labels == 1, totals, np.inf).argmin(axis=1)
    one = np.where((labels == 1).any(axis=1), rarest, -1)
    split = np.zeros(len(patients), dtype=np.int64)
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=seed).split(one, one, patients)
    for number, (_, fold) in enumerate(folds):
        split[fold] = 0 if number < 7 else 1 if number < 8 else 2
    return split


#: Name, function, package it needs, and the most seeds it is run with (it may take long).
METHODS: list[tuple[str, Callable[[Ints, Labels, int], Ints], str | None, int]] = [
    ("cxr split", cxr, None, 100),
    ("patients at random", random_patients, None, 100),
    ("GroupShuffleSplit", group_shuffle_split, "sklearn", 100),
    ("iterative-stratification", iterative_stratification, "iterstrat", 3),
    ("StratifiedGroupKFold", stratified_group_kfold, "sklearn", 1),
]


def deviations(split: Ints, labels: Labels) -> tuple[float, float, float]:
    """Return worst and mean deviation of positives, and the largest miss in size (images)."""
    measures = np.column_stack([labels == 1, np.ones(len(labels))])
    held = np.stack([measures[split == number].sum(axis=0) for number in range(len(SHARES))])
    target = np.outer(SHARES, measures.sum(axis=0))
    present = target[0] > 0
    relative = np.abs(held - target)[:, present] / target[:, present]
    return relative[:, :-1].max(), relative[:, :-1].mean(), np.abs(held - target)[:, -1].max()


def main() -> None:
    """Run every method and print a line for each."""
    parser = table_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    table = read_labels(options.labels)
    _, patients = np.unique(table.patient_codes, return_inverse=True)
    print(f"{options.labels.name}: {table.n_images:,} images, {len(table.patient_ids):,} patients, 70/10/20")
    print(f"{'method':26}{'worst deviation':>20}{'mean':>9}{'size miss':>11}{'time':>9}{'/ cxr':>8}")
    base = float("nan")
    for name, method, package, most in METHODS:
        if package is not None and importlib.util.find_spec(package) is None:
            print(f"{name:26} skipped: {package} is not installed")
            continue
        found, seconds = [], []
        for seed in range(min(options.seeds, most)):
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                split = method(patients, table.labels, seed)
            seconds.append(time.perf_counter() - begin)
            found.append(deviations(split, table.labels))
        worst, mean, size = np.array(found).T
        elapsed = float(np.median(seconds))
        base = elapsed if name == "cxr split" else base
        spread = f"{100 * worst.min():.1f} to {100 * worst.max():.1f} %"
        print(f"{name:26}{spread:>20}{100 * mean.mean():>7.2f} %{size.max():>11,.0f}", end="")
        print(f"{elapsed:>7.2f} s{elapsed / base:>8.1f}")


if __name__ == "__main__":
    main()
