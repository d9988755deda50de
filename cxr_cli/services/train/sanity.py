"""Whether a training learnt anything: the mean AUROC against chance, with the patient as the unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.names import in_print
from cxr_cli.services.metrics.bootstrap import RankStatistics, clusters_of, percentile_interval, replicate
from cxr_cli.services.metrics.ranking import auroc
from cxr_cli.services.model_card import ModelCard
from cxr_cli.services.train.data import TrainingData

#: Positives of a pathology below which AUROC is mostly noise.
FEW_POSITIVES = 10


@dataclass(frozen=True)
class Chance:
    """The mean AUROC and its interval.

    Attributes
    ----------
    auroc, low, high
        Mean over the pathologies that can be scored; ends of its 95 % interval.
    n_draws
        Draws in which it is defined.
    """

    auroc: float
    low: float
    high: float
    n_draws: int

    @property
    def learnt(self) -> bool:
        """Whether the interval lies above 0.5."""
        return self.low > 0.5


def against_chance(data: TrainingData, probabilities: NDArray[Any], n_draws: int, seed: int) -> Chance:
    """Return the mean AUROC on a store's images with a bootstrap over its patients.

    Parameters
    ----------
    data
        The validation images.
    probabilities
        Shape (n_images, n_pathologies).
    n_draws, seed
        Of the bootstrap; images whose patient is unknown count as patients of their own.
    """
    clusters = clusters_of(data.patient_codes)
    statistics = RankStatistics(data.labels, probabilities, clusters)
    (draws,) = replicate([statistics], int(clusters.max()) + 1, n_draws, seed=seed)
    interval = percentile_interval(mean_of_known(draws[:, :, 0]))
    value = float(mean_of_known(auroc(data.labels, probabilities)[None])[0])
    return Chance(value, interval.low, interval.high, interval.n_draws)


def mean_of_known(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of each row without its NaN; NaN where there is nothing else."""
    known = ~np.isnan(values)
    n_known = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.divide(total, n_known, out=np.full(len(values), np.nan), where=n_known > 0)
    return means


def look_at(
    card: ModelCard, train: TrainingData, valid: TrainingData, rates: tuple[float, ...], *, base_trained: bool
) -> tuple[str, ...]:
    """Return what to look at when nothing was learnt, in the order in which such runs fail.

    Parameters
    ----------
    card
        Of the model that training started from.
    train, valid
        The images.
    rates
        Learning rates.
    base_trained
        Whether a stage trained the whole base.
    """
    origin, scheme = card.pretrained, card.preprocessing.standardize
    weights = {
        "random": "the base has random weights"
        + (", and was trained from them" if base_trained else " and stayed frozen: give build-model --pretrained"),
        "imagenet": "the base has ImageNet's weights",
        "file": f"the base's weights come from {origin.file.path if origin.file else 'a file'}",
    }[origin.source]
    if origin.untrained:
        weights += "; the batch normalisations in that file have never seen an image"
    pairs = zip(card.pathologies, train.source.n_positive.values(), strict=True)
    few = [f"{in_print(name)} {n}" for name, n in pairs if n < FEW_POSITIVES]
    held = ", ".join(few[:4]) + (", …" if len(few) > 4 else "")
    base = {
        "random": "a random base was made for none",
        "imagenet": "ImageNet's weights were made for imagenet",
        "file": "compare with how the images behind the weight file were standardized",
    }[origin.source]
    return (
        f"weights never loaded: {weights}",
        "labels in another order or of other images: compare some rows of the table with their images",
        f"standardization not the base's: images are standardized {scheme}; {base}",
        f"too few positives: {len(few)} of {len(card.pathologies)} pathologies have fewer than {FEW_POSITIVES} in "
        f"{train.source.n_images:,} training images" + (f" ({held})" if few else ""),
        f"learning rate: {', '.join(f'{rate:g}' for rate in rates)}; try ten times less and ten times more",
    )
