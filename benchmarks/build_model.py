"""Measure `cxr build-model` against a bare Keras script that builds, loads and saves the same model, both started cold.

    python benchmarks/build_model.py [repetitions]

Runs are interleaved, so that what else the machine does falls on all alike; ratios are of medians.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import headline

PATHOLOGIES = "Atelectasis,Cardiomegaly,Consolidation,Edema,Effusion,Emphysema,Fibrosis,Hernia,Infiltration,Mass,Nodule"
BARE = """
import keras
base = keras.applications.DenseNet121(include_top=False, weights="densenet.h5", input_shape=(320, 320, 3))
base.trainable = False
pooled = keras.layers.GlobalAveragePooling2D()(base.output)
outputs = keras.layers.Dense(11, activation="sigmoid")(pooled)
model = keras.Model(base.input, outputs)
model.compile("adam", "binary_crossentropy")
print(model.count_params())
model.save("bare.keras")
"""
WRITE = """
import keras
base = keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(64, 64, 3))
base.save("densenet.h5")
"""


def measure(arguments: list[str], folder: str) -> tuple[float, float]:
    """Return wall-clock and processor seconds of a Python process."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a table of seconds and ratios."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    command = ["-m", "cxr_cli", "build-model", "--pathologies", PATHOLOGIES, "--pretrained", "densenet.h5"]
    command += ["--loss", "binary-crossentropy", "--save", "model.keras"]
    runs = {
        "bare Keras script": ["-c", BARE],
        "cxr build-model --no-plots": [*command, "--no-plots"],
        "cxr build-model, drawing included": command,
    }
    with tempfile.TemporaryDirectory() as folder:
        measure(["-c", WRITE], folder)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(repetitions):
            for name, arguments in runs.items():
                times[name].append(measure(arguments, folder))
    print(f"{'':36}{'wall':>12}{'ratio':>8}{'processor':>14}{'ratio':>8}")
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    bare = medians["bare Keras script"]
    for name, (wall, processor) in medians.items():
        print(f"{name:36}{wall:10.2f} s{wall / bare[0]:8.2f}{processor:12.2f} s{processor / bare[1]:8.2f}")
    for name in list(runs)[1:]:
        ratios = [one[0] / other[0] for one, other in zip(times[name], times["bare Keras script"], strict=True)]
        headline(f"{name}, against a bare Keras script", ratios)


if __name__ == "__main__":
    main()
