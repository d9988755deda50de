"""The manifest of a store as the first version wrote it, for tests; stores of then must stay readable."""

from __future__ import annotations

from typing import Any


def manifest_document(**changes: Any) -> dict[str, Any]:
    """Return a ``preprocess.json``; changes whose name is one of the recipe's are made there."""
    recipe = {
        "image_size": [256, 320],
        "standardize": "featurewise",
        "interpolation": "area",
        "dtype": "uint8",
        "format": "npy",
        "statistics": {"mean": 128.5, "std": 60.25, "n_images": 10, "n_pixels": 819200},
    }
    document: dict[str, Any] = {
        "schema_version": 1,
        "command": "preprocess",
        "cxr_version": "0.1.0",
        "versions": {"python": "3.11.7", "cxr": "0.1.0", "numpy": "2.4.6", "pillow": "12.0.0", "kornia_rs": "0.2.0"},
        "inputs": [{"path": "train.csv", "size": 1234, "sha256": "ab" * 32}],
        "image_folder": "images",
        "uncertain": "ignore",
        "recipe": recipe,
        "epsilon": 1e-06,
        "statistics_fitted_on": {"path": "train.csv", "size": 1234, "sha256": "ab" * 32},
        "engine": "fast",
        "fit_sample": None,
        "seed": 0,
        "pathologies": ["Mass", "Hernia"],
        "store": "images.npy",
        "index": "index.csv",
        "shape": [10, 256, 320],
        "dtype": "uint8",
        "n_images": 10,
        "n_done": 10,
        "n_failed": 0,
        "comparison": {"n_images": 10, "sizes": None, "before": None, "after": None, "sample": []},
    }
    for name, value in changes.items():
        (recipe if name in recipe and name not in document else document)[name] = value
    return document
