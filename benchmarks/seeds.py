"""What trainings that differ in nothing but the seed look like when they are compared: significant by chance.

    CXR_REAL_DATA=DIR python benchmarks/seeds.py [--draws 2000]

Compares three of the five models of Seyyed-Kalantari et al. (Nature Medicine 2021), one recipe trained with three
seeds, pair by pair on 15 labels of their 6,373 test images, and counts differences with p below 0.05. Every one of them
is training noise, which a test-set interval does not contain.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cxr_cli.data.labels import read_labels
from cxr_cli.data.predictions import read_predictions
from cxr_cli.services.evaluate.evaluate import evaluate
from cxr_cli.services.parallel import available_cores

SEEDS = (11, 37, 45)


def main() -> None:
    """Print a line for each pair and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=2000)
    options = parser.parse_args()
    real = os.environ.get("CXR_REAL_DATA")
    if not real:
        parser.exit(2, "CXR_REAL_DATA does not name the folder with the real NIH files\n")
    folder = Path(real) / "predictions" / "nih-five-models"
    first, *others = (read_predictions(folder / f"seed{seed}" / "preds.csv.gz") for seed in SEEDS)
    result = evaluate(
        first,
        read_labels(Path(real) / "nih" / "Data_Entry_2017_v2020.csv.gz"),
        name=f"seed {SEEDS[0]}",
        compare={f"seed {seed}": [item] for seed, item in zip(SEEDS[1:], others, strict=True)},
        n_draws=options.draws,
        workers=available_cores(),
    )
    for model in result.models:
        mean = model.mean.auroc
        print(f"{model.name}: mean AUROC {mean.value:.4f} ({mean.low:.4f} to {mean.high:.4f})")
    n_tests = sum(len(pair.pathologies) for pair in result.comparisons)
    for pair in result.comparisons:
        print(
            f"{pair.first} against {pair.second}: p < 0.05 in {pair.n_significant_delong} of {len(pair.pathologies)} "
            f"by DeLong over images, {pair.n_significant} by draws of patients, {pair.n_significant_holm} after Holm"
        )
    counts = [
        sum(getattr(pair, name) for pair in result.comparisons)
        for name in ("n_significant_delong", "n_significant", "n_significant_holm")
    ]
    print(f"of {n_tests} tests: {counts[0]} by DeLong, {counts[1]} by draws of patients, {counts[2]} after Holm")


if __name__ == "__main__":
    main()
