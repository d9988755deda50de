"""Measure `explain` against bare forward passes of the same network on the same images.

    python benchmarks/explain.py [--images 96] [--rounds 5]

With boxes, every image goes through two networks, the model and the one with random weights; so it does bare. What is
measured beyond that are the maps, the boxes of the maps, their controls and the lungs' field. Making both networks
ready takes some seconds once; the second ratio leaves that out: it compares the differences between a whole run and one
on an eighth of the images.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from timing import functions_in_turns, headline

PATHOLOGIES = tuple("Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Pneumonia,Pneumothorax".split(","))
SIDE = 224


class Images:
    """Random images of patients with two images each, all with a box."""

    def __init__(self, n_images: int) -> None:
        self.names = [f"{number:08}_000.png" for number in range(n_images)]
        self.patients = [str(number // 2) for number in range(n_images)]
        self.sizes = [(1024, 1024)] * n_images
        self.labels = None
        self.failures: dict[str, str] = {}
        self.pixels = np.random.default_rng(0).normal(size=(n_images, SIDE, SIDE, 3)).astype(np.float32)

    def batches(self, places: Sequence[int], size: int) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Yield the images in batches."""
        for start in range(0, len(places), size):
            part = places[start : start + size]
            yield part, self.pixels[list(part)]

    def grey(self, place: int) -> np.ndarray:
        """Return an image to show."""
        return self.pixels[place, ..., 0]


def main() -> None:
    """Print the ratio of times and the peak of memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()

    from cxr_cli.data.boxes import BoxList
    from cxr_cli.data.files import InputFile
    from cxr_cli.models.densenet import build_densenet
    from cxr_cli.models.randomized import randomized
    from cxr_cli.services.explain.gather import ExplainOptions, explain_images

    model = build_densenet(PATHOLOGIES, (SIDE, SIDE), seed=1)
    other = randomized(model, 0)
    images, few = Images(arguments.images), Images(max(arguments.images // 8, 2))
    dice = np.random.default_rng(1)
    count = arguments.images
    corners = np.column_stack([dice.uniform(0, 700, (count, 2)), dice.uniform(60, 300, (count, 2))])
    names = tuple(dice.choice(PATHOLOGIES, arguments.images))
    boxes = BoxList(tuple(images.names), names, corners, 0, InputFile("boxes.csv", 0, ""))
    options = ExplainOptions(batch_size=16, n_draws=1000, n_images=9)

    def bare(given: Images) -> None:
        for _, batch in given.batches(range(len(given.names)), 16):
            model.predict_on_batch(batch)
            other.predict_on_batch(batch)

    def explained(given: Images) -> None:
        explain_images(model, given, model_path="m", pathologies=PATHOLOGIES, boxes=boxes, options=options)

    calls = {"bare": bare, "explain": explained}
    runs = {(name, given): partial(call, given) for name, call in calls.items() for given in (images, few)}
    measured = functions_in_turns(
        {f"{name} {len(given.names)}": run for (name, given), run in runs.items()}, arguments.rounds
    )
    times = {name: measured[f"{name} {len(images.names)}"] for name in calls}
    short = {name: measured[f"{name} {len(few.names)}"] for name in calls}
    ratios = [one / other for one, other in zip(times["explain"].wall, times["bare"].wall, strict=True)]
    headline(f"explain with boxes, against bare forward passes ({arguments.images} images of {SIDE} pixels)", ratios)
    slopes = [
        (whole - part) / (bare_whole - bare_part)
        for whole, part, bare_whole, bare_part in zip(
            times["explain"].wall, short["explain"].wall, times["bare"].wall, short["bare"].wall, strict=True
        )
    ]
    headline("the same for each further image", slopes)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
