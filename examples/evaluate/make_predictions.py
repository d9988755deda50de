"""Draw labels and predictions for ``cxr evaluate`` to practise on: the same bytes every time; NumPy is all it needs.

    python examples/evaluate/make_predictions.py

Patients differ in how ill they are and in how their images look to a model, so images of one patient resemble each
other, as in real data. Nobody was X-rayed for this.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
#: Prevalence of each pathology, and how far model A separates its positives (in standard deviations of the logit).
PATHOLOGIES = {
    "Cardiomegaly": (0.08, 2.4),
    "Effusion": (0.20, 1.8),
    "Hernia": (0.01, 2.0),
    "Infiltration": (0.25, 0.8),
    "Mass": (0.07, 1.6),
}


def draw_images(random: np.random.Generator, first: int, n_patients: int) -> list[dict[str, object]]:
    """Draw patients with 1 to 12 images each; the first patient's number is given."""
    rows: list[dict[str, object]] = []
    for patient in range(first, first + n_patients):
        sex, age = random.choice(["F", "M"]), int(np.clip(random.normal(50, 16), 4, 92))
        illness = random.normal(0, 1, len(PATHOLOGIES))
        looks = random.normal(0, 0.7, len(PATHOLOGIES))
        for follow_up in range(min(12, 1 + random.geometric(0.4))):
            row: dict[str, object] = {
                "Image": f"{patient:08d}_{follow_up:03d}.png",
                "PatientId": patient,
                "Sex": sex,
                "Age": age + follow_up // 4,
                "View": random.choice(["PA", "AP"], p=[0.7, 0.3]),
                "looks": looks,
            }
            for place, (name, (prevalence, _)) in enumerate(PATHOLOGIES.items()):
                odds = np.log(prevalence / (1 - prevalence)) + 1.2 * illness[place] - 0.5
                row[name] = int(random.random() < 1 / (1 + np.exp(-odds)))
            rows.append(row)
    return rows


def predict(random: np.random.Generator, rows: list[dict[str, object]], skill: float, noise: float) -> np.ndarray:
    """Return probabilities, shape (n_images, n_pathologies), of a model that is about calibrated."""
    columns = []
    for place, (name, (prevalence, separation)) in enumerate(PATHOLOGIES.items()):
        labels = np.array([row[name] for row in rows], float)
        looks = np.array([row["looks"][place] for row in rows])
        signal = looks + random.normal(0, noise, len(rows)) + skill * separation * labels
        variance = 0.7**2 + noise**2
        slope = skill * separation / variance
        logit = slope * (signal - skill * separation / 2) + np.log(prevalence / (1 - prevalence))
        columns.append(1 / (1 + np.exp(-logit)))
    return np.round(np.column_stack(columns), 4)


def write(name: str, header: list[str], rows: list[list[object]]) -> None:
    """Write a CSV beside this file."""
    with open(FOLDER / name, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(header)
        table.writerows(rows)


def main() -> None:
    """Write all files."""
    random = np.random.default_rng(2026)
    names = list(PATHOLOGIES)
    test, valid = draw_images(random, 91001, 240), draw_images(random, 92001, 150)
    facts = ["Image", "PatientId", "Sex", "Age", "View"]
    write("test.csv", [*facts, *names], [[row[key] for key in (*facts, *names)] for row in test])
    for file, skill in (("a-seed1", 1.0), ("a-seed2", 1.0), ("a-seed3", 1.0), ("b", 0.8)):
        scores = predict(random, test, skill, 0.7)
        order = random.permutation(len(test))
        write(f"test-{file}.csv", ["Image", *names], [[test[row]["Image"], *scores[row]] for row in order])
    scores = predict(random, valid, 1.0, 0.7)
    predicted = [f"{name}_pred" for name in names]
    lines = [
        [row["Image"], row["PatientId"], *(row[name] for name in names), *scores[k]] for k, row in enumerate(valid)
    ]
    write("valid-a.csv", ["Image", "PatientId", *names, *predicted], lines)


if __name__ == "__main__":
    main()
