"""Measure what docs/advanced_tips.md says was measured.

    python docs/measure_tips.py            # print every table
    python docs/measure_tips.py --write    # and put them into advanced_tips.md
    python docs/measure_tips.py --keras    # also what needs the network (minutes)

Most of it runs on NIH's table of 112,120 images (Data_Entry_2017_v2020.csv.gz) in the folder that CXR_REAL_DATA
names; no images are needed. The "table model" below is a logistic regression on age, sex, view position and follow-up
number: it sees no pixels, and serves to show how splits, weights and metrics behave, and how far a shortcut carries.
Every number depends on the table and on the seeds in this file alone.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_cli.data.images import read_gray
from cxr_cli.data.labels import LabelTable, read_labels
from cxr_cli.services.metrics.auroc_interval import auroc_half_width
from cxr_cli.services.split.split import divide

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
Floats = npt.NDArray[np.float64]


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Make a Markdown table; the first column is text, the others are numbers."""
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def auroc(scores: Floats, labels: npt.NDArray[np.bool_], weights: Floats | None = None) -> float:
    """Return the area under the ROC curve; ties count half."""
    weights = np.ones(len(scores)) if weights is None else weights
    _, place = np.unique(scores, return_inverse=True)
    positive = np.bincount(place, weights * labels)
    negative = np.bincount(place, weights * ~labels)
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def average_precision(scores: Floats, labels: npt.NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall curve as a step function; tied scores are one step."""
    _, place = np.unique(-scores, return_inverse=True)
    found, called = np.cumsum(np.bincount(place, labels)), np.cumsum(np.bincount(place))
    return float((np.diff(found, prepend=0) * found / called).sum() / found[-1])


def fit_logistic(features: Floats, labels: Floats, weights: Floats, ridge: float = 1e-6) -> Floats:
    """Return the coefficients that minimise the weighted cross-entropy (Newton's method)."""
    beta = np.zeros(features.shape[1])
    for _ in range(50):
        probability = sigmoid(features @ beta)
        gradient = features.T @ (weights * (probability - labels)) + ridge * beta
        curvature = (features * (weights * probability * (1 - probability))[:, None]).T @ features
        step = np.linalg.solve(curvature + ridge * np.eye(len(beta)), gradient)
        beta -= step
        if np.abs(step).max() < 1e-8:
            break
    return beta


def sigmoid(logits: Floats) -> Floats:
    """Return 1 / (1 + exp(-logits))."""
    return 1 / (1 + np.exp(-logits))


class Study:
    """NIH's table, divided by `cxr split`, and what the table model says of every image."""

    def __init__(self, table: LabelTable, seed: int = 0) -> None:
        self.table = table
        self.labels = table.labels == 1
        self.train, self.valid, self.test = divide(table, seed=seed).rows
        frame = table.frame
        age = np.clip(frame["age"].to_numpy(dtype=float), 0, 100) / 100
        male = (frame["sex"] == "M").to_numpy(dtype=float)
        follow_up = np.log1p(frame["follow_up"].to_numpy(dtype=float))
        self.ap = (frame["view"] == "AP").to_numpy(dtype=float)
        columns = [np.ones(len(age)), age, age**2, male, self.ap, self.ap * age, follow_up, follow_up * self.ap]
        self.features = np.column_stack(columns)

    def place(self, pathology: str) -> int:
        """Return the column of a pathology."""
        return self.table.pathologies.index(pathology)

    def fit(self, pathology: int, positive: float = 1.0, negative: float = 1.0) -> Floats:
        """Fit the table model on the training split; return its logits for every image."""
        present = self.labels[self.train, pathology]
        weights = np.where(present, positive, negative)
        return self.features @ fit_logistic(self.features[self.train], present.astype(float), weights)


def image_split(study: Study) -> str:
    """Compare a split by image with a split by patient: what does remembering patients bring."""
    patients, labels = study.table.patient_codes, study.labels
    by_image = np.random.default_rng(0).random(len(patients)) < 0.2
    by_patient = np.zeros(len(patients), dtype=bool)
    by_patient[divide(study.table, {"train": 0.8, "test": 0.2}).rows[1]] = True
    rows = []
    for name, test in (("by image", by_image), ("by patient (`cxr split`)", by_patient)):
        known = np.bincount(patients[~test], minlength=patients.max() + 1)
        areas = []
        for present in labels.T:
            seen = np.bincount(patients[~test], present[~test], minlength=len(known))
            remembered = (seen + present[~test].mean()) / (known + 1)
            areas.append(auroc(remembered[patients[test]], present[test]))
        shared = (known[patients[test]] > 0).mean()
        rows.append((name, f"{100 * shared:.1f} %", f"{np.mean(areas):.3f}", f"{min(areas):.3f} to {max(areas):.3f}"))
    return markdown(["80/20 split", "test images of patients seen in training", "AUROC of remembering", "range"], rows)


def positives_needed(study: Study) -> str:
    """Foretell half-widths of confidence intervals for numbers of positives."""
    numbers = (10, 25, 50, 100, 200, 500, 1000)
    rows = [
        (f"AUROC {area}", *(f"± {auroc_half_width(number, 20_000, area):.3f}" for number in numbers))
        for area in (0.7, 0.8, 0.9)
    ]
    return markdown(["positives", *map(str, numbers)], rows)


def seeds(study: Study) -> str:
    """Tell how far an AUROC depends on the seed of the split, all splits being equally balanced."""
    chosen = ("Hernia", "Pneumonia", "Emphysema", "Effusion")
    areas: dict[str, list[float]] = {pathology: [] for pathology in chosen}
    for seed in range(20):
        drawn = Study(study.table, seed)
        for pathology in chosen:
            place = drawn.place(pathology)
            areas[pathology].append(auroc(drawn.fit(place)[drawn.test], drawn.labels[drawn.test, place]))
    rows = []
    for pathology, found in areas.items():
        positives = int(study.labels[study.test, study.place(pathology)].sum())
        half = auroc_half_width(positives, len(study.test) - positives, float(np.mean(found)))
        cells = (f"{min(found):.3f} to {max(found):.3f}", f"± {1.96 * np.std(found, ddof=1):.3f}", f"± {half:.3f}")
        rows.append((pathology, positives, f"{np.mean(found):.3f}", *cells))
    return markdown(["pathology", "positives", "mean AUROC", "range", "1.96 deviations", "Hanley–McNeil"], rows)


def bootstrap(study: Study) -> str:
    """Compare the width of bootstrap intervals that draw images with those that draw patients."""
    rng = np.random.default_rng(0)
    test = study.test
    _, patients = np.unique(study.table.patient_codes[test], return_inverse=True)
    n_images, n_patients, n_draws = len(test), patients.max() + 1, 500
    draws = {
        "images": [np.bincount(rng.integers(n_images, size=n_images), minlength=n_images) for _ in range(n_draws)],
        "patients": [
            np.bincount(rng.integers(n_patients, size=n_patients), minlength=n_patients)[patients]
            for _ in range(n_draws)
        ],
    }
    rows, ratios = [], []
    for place, pathology in enumerate(study.table.pathologies):
        scores, present = study.fit(place)[test], study.labels[test, place]
        half = {}
        for name, drawn in draws.items():
            areas = [auroc(scores, present, weights.astype(float)) for weights in drawn]
            low, high = np.percentile(areas, [2.5, 97.5])
            half[name] = (high - low) / 2
        ratios.append(half["patients"] / half["images"])
        foretold = auroc_half_width(int(present.sum()), int((~present).sum()), auroc(scores, present))
        if pathology in ("Hernia", "Pneumonia", "Emphysema", "Effusion"):
            widths = (foretold, half["images"], half["patients"])
            rows.append(
                (
                    pathology,
                    int(present.sum()),
                    f"{auroc(scores, present):.3f}",
                    *(f"± {width:.3f}" for width in widths),
                    f"{ratios[-1]:.2f}",
                )
            )
    rows.append(
        ("median of 14 (range)", "", "", "", "", "", f"{np.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
    )
    header = ["pathology", "positives", "AUROC", "Hanley–McNeil", "bootstrap of images", "of patients", "ratio"]
    return markdown(header, rows)


def weighting(study: Study) -> str:
    """Compare no correction, class weights, oversampling, and weights undone."""
    rows = []
    rng = np.random.default_rng(0)
    for pathology in ("Effusion", "Pneumonia", "Hernia"):
        place = study.place(pathology)
        present = study.labels[study.train, place]
        share = present.mean()
        weighted = study.fit(place, 1 - share, share)
        drawn = np.concatenate([study.train[~present], rng.choice(study.train[present], (~present).sum())])
        sampled = study.features @ fit_logistic(
            study.features[drawn], study.labels[drawn, place].astype(float), np.ones(len(drawn))
        )
        ways = [
            ("as it is", study.fit(place)),
            ("class weights", weighted),
            ("oversampling to 1 : 1", sampled),
            ("class weights, undone", weighted + np.log(share / (1 - share))),
        ]
        for name, logits in ways:
            probability, truth = sigmoid(logits[study.test]), study.labels[study.test, place]
            loss = -np.log(np.where(truth, probability, 1 - probability)).mean()
            cells = (f"{auroc(logits[study.test], truth):.3f}", f"{100 * probability.mean():.2f} %", f"{loss:.4f}")
            rows.append((pathology, f"{100 * truth.mean():.2f} %", name, *cells))
    return markdown(["pathology", "prevalence", "training", "AUROC", "mean prediction", "log loss"], rows)


def thresholds(study: Study) -> str:
    """Compare a threshold chosen on validation data with one chosen on the test data it is reported on."""

    def youden(scores: Floats, truth: npt.NDArray[np.bool_]) -> Floats:
        cuts = np.quantile(scores, np.linspace(0, 1, 201))
        return cuts[np.argmax([value(scores, truth, cut) for cut in cuts])]

    def value(scores: Floats, truth: npt.NDArray[np.bool_], cut: float) -> float:
        called = scores >= cut
        return called[truth].mean() - called[~truth].mean()

    rng = np.random.default_rng(0)
    pools = {}
    for pathology in ("Effusion", "Edema", "Pneumonia"):
        place = study.place(pathology)
        rows = np.concatenate([study.valid, study.test])
        pools[pathology] = (study.fit(place)[rows], study.labels[rows, place])
    table = []
    for n_positive in (10, 25, 50, 100):
        cells = []
        for scores, truth in pools.values():
            gains = []
            for _ in range(400):
                some = rng.permutation(np.flatnonzero(truth))[: 2 * n_positive]
                others = rng.permutation(np.flatnonzero(~truth))[: 40 * n_positive]
                one = np.concatenate([some[:n_positive], others[: 20 * n_positive]])
                other = np.concatenate([some[n_positive:], others[20 * n_positive :]])
                honest = value(scores[other], truth[other], youden(scores[one], truth[one]))
                gains.append(value(scores[other], truth[other], youden(scores[other], truth[other])) - honest)
            cells.append(f"+{np.mean(gains):.3f}")
        table.append((n_positive, *cells))
    return markdown(["positives in valid and in test", *pools], table)


def prevalence(study: Study) -> str:
    """Show what prevalence does to AUPRC and precision while AUROC stays."""
    rng = np.random.default_rng(0)
    place = study.place("Effusion")
    scores, truth = study.fit(place)[study.test], study.labels[study.test, place]
    positives, negatives = np.flatnonzero(truth), np.flatnonzero(~truth)
    rows = []
    for share in (0.5, 0.2, 0.119, 0.05, 0.01):
        if share / (1 - share) > len(positives) / len(negatives):
            number = int(len(positives) * (1 - share) / share)
            chosen = [(positives, rng.permutation(negatives)[:number]) for _ in range(20)]
        else:
            number = int(len(negatives) * share / (1 - share))
            chosen = [(rng.permutation(positives)[:number], negatives) for _ in range(20)]
        areas, precisions, values = [], [], []
        for some, others in chosen:
            kept = np.concatenate([some, others])
            areas.append(auroc(scores[kept], truth[kept]))
            precisions.append(average_precision(scores[kept], truth[kept]))
            called = scores[kept] >= np.quantile(scores[some], 0.2)
            values.append(truth[kept][called].mean())
        cells = [f"{np.mean(numbers):.3f}" for numbers in (areas, precisions)]
        rows.append((f"{100 * share:g} %", *cells, f"{100 * np.mean(values):.1f} %"))
    return markdown(["prevalence", "AUROC", "AUPRC", "positive predictive value at sensitivity 0.8"], rows)


def shortcuts(study: Study) -> str:
    """Tell how far the view position alone, and the table model, carry."""
    found = []
    for place, pathology in enumerate(study.table.pathologies):
        truth = study.labels[study.test, place]
        alone = auroc(study.ap[study.test], truth)
        rows = study.labels[:, place]
        found.append(
            (
                abs(alone - 0.5),
                pathology,
                f"{100 * study.ap[rows].mean():.0f} %",
                f"{100 * study.ap[~rows].mean():.0f} %",
                f"{max(alone, 1 - alone):.3f}",
                f"{auroc(study.fit(place)[study.test], truth):.3f}",
            )
        )
    found.sort(reverse=True)
    header = [
        "pathology",
        "AP among positives",
        "AP among negatives",
        "AUROC of view alone",
        "AUROC of the table model",
    ]
    return markdown(header, [row[1:] for row in found])


def label_noise(study: Study) -> str:
    """Tell what AUROC a perfect or good model shows against labels that are wrong at times, and check it by drawing."""
    rng = np.random.default_rng(0)
    true_area, share, n_images = 0.9, 0.1, 400_000
    truth = rng.random(n_images) < share
    scores = rng.normal(size=n_images) + 1.8124 * truth  # two normal distributions with an area of 0.9 between them
    rows = []
    for predictive, negative_value in ((1.0, 1.0), (0.9, 1.0), (0.9, 0.98), (0.7, 0.98), (0.5, 0.98)):
        foretold = 0.5 + (predictive + negative_value - 1) * (true_area - 0.5)
        # Labels that have these predictive values: q positives labelled, of which `predictive` truly are.
        labelled = (share - (1 - negative_value)) / (predictive - (1 - negative_value))
        keep, add = labelled * predictive / share, labelled * (1 - predictive) / (1 - share)
        label = np.where(truth, rng.random(n_images) < keep, rng.random(n_images) < add)
        rows.append(
            (
                f"{100 * predictive:.0f} % / {100 * negative_value:.0f} %",
                f"{foretold:.3f}",
                f"{auroc(scores, label):.3f}",
            )
        )
    return markdown(["PPV / NPV of the labels", "AUROC that 0.9 turns into", "the same, drawn"], rows)


def fitted_statistics(_: Study | None) -> str:
    """Compare pixel statistics of the training images with those of all images of the sample data."""
    folder = ROOT / "sample_data"
    values = {}
    for name in ("train", "valid"):
        table = read_labels(folder / f"{name}-small.csv")
        images = [read_gray(folder / "images-small" / image).pixels / 255.0 for image in table.images]
        values[name] = np.array([(pixels.mean(), (pixels**2).mean()) for pixels in images])
    rows = []
    for name, moments in (("training images", values["train"]), ("all images", np.concatenate(list(values.values())))):
        mean, square = moments.mean(axis=0)
        rows.append((name, f"{mean:.4f}", f"{np.sqrt(square - mean**2):.4f}"))
    return markdown(["featurewise statistics of", "mean", "deviation"], rows)


def frozen_base(_: Study | None) -> str:
    """Time an epoch over a frozen base against one over its cached features; count what a frozen base still moves."""
    import time

    import keras

    from cxr_cli.models.densenet import base_layers, build_densenet

    size, n_images, pathologies = (320, 320), 32, ["A"] * 14
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n_images, *size, 3)).astype(np.float32)
    labels = (rng.random((n_images, len(pathologies))) < 0.1).astype(np.float32)
    model = build_densenet([f"P{number}" for number in range(len(pathologies))], size)

    def timed(work: Callable[[], object]) -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    def epoch(network: keras.Model, inputs: npt.NDArray[np.float32]) -> float:
        network.compile("adam", "binary_crossentropy")
        network.fit(inputs, labels, batch_size=8, verbose=0)  # compiles the graph
        return min(timed(lambda: network.fit(inputs, labels, batch_size=8, verbose=0)) for _ in range(3))

    base = base_layers(model)
    everything = epoch(model, images)
    for layer in base:
        layer.trainable = isinstance(layer, keras.layers.BatchNormalization)
    statistics = [
        variable
        for layer in base
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    before = [keras.ops.convert_to_numpy(variable) for variable in statistics]
    epoch(model, images)
    moved = sum(
        bool((keras.ops.convert_to_numpy(variable) != old).any())
        for variable, old in zip(statistics, before, strict=True)
    )
    for layer in base:
        layer.trainable = False
    frozen = epoch(model, images)
    before = [keras.ops.convert_to_numpy(variable) for variable in statistics]
    epoch(model, images)
    still = sum(
        bool((keras.ops.convert_to_numpy(variable) != old).any())
        for variable, old in zip(statistics, before, strict=True)
    )
    extractor = keras.Model(model.input, model.get_layer("avg_pool").output)
    extractor.predict(images[:8], verbose=0)
    features = extractor.predict(images, batch_size=8, verbose=0)
    caching = min(timed(lambda: extractor.predict(images, batch_size=8, verbose=0)) for _ in range(3))
    head_input = keras.Input((features.shape[1],))
    head = keras.Model(head_input, keras.layers.Dense(len(pathologies), activation="sigmoid")(head_input))
    cached = epoch(head, features)
    rows = [
        ("nothing frozen", f"{everything / frozen:.1f}", ""),
        ("convolutions frozen, batch normalisation not", "", f"{moved} of {len(statistics)}"),
        ("whole base frozen", "1", f"{still} of {len(statistics)}"),
        (
            "features cached once, then the head alone",
            f"{cached / frozen:.2f} (caching: {caching / frozen:.1f}, once)",
            "",
        ),
    ]
    return markdown(["base", "time of an epoch / frozen base", "batch-norm statistics that moved"], rows)


TABLES: dict[str, Callable[[Study], str]] = {
    "image-split": image_split,
    "positives": positives_needed,
    "seeds": seeds,
    "bootstrap": bootstrap,
    "weighting": weighting,
    "thresholds": thresholds,
    "prevalence": prevalence,
    "shortcuts": shortcuts,
    "label-noise": label_noise,
    "statistics": fitted_statistics,
}
KERAS_TABLES = {"frozen-base": frozen_base}


def put(text: str, name: str, table: str) -> str:
    """Replace what stands between the marks of a table."""
    pattern = rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)"
    replaced, number = re.subn(pattern, lambda match: match[1] + table + "\n" + match[2], text, flags=re.DOTALL)
    if number != 1:
        raise SystemExit(f"advanced_tips.md: {number} places for table {name}")
    return replaced


def real_table() -> Path:
    """Return the path of NIH's table."""
    path = Path(os.environ.get("CXR_REAL_DATA", "")) / "nih" / "Data_Entry_2017_v2020.csv.gz"
    if not path.is_file():
        raise SystemExit("CXR_REAL_DATA does not name a folder with nih/Data_Entry_2017_v2020.csv.gz")
    return path


def main() -> None:
    """Print the tables; put them into the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="tables to make; default: all that need no network")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--keras", action="store_true")
    options = parser.parse_args()
    study = Study(read_labels(real_table()))
    chosen = {**TABLES, **(KERAS_TABLES if options.keras else {})}
    for name, measure in chosen.items():
        if options.names and name not in options.names:
            continue
        table = measure(study)
        print(f"\n{name}\n\n{table}", flush=True)
        if options.write:
            page = DOCS / "advanced_tips.md"
            page.write_text(put(page.read_text(encoding="utf-8"), name, table), encoding="utf-8")


if __name__ == "__main__":
    main()
