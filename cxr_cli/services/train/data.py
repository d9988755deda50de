"""The two stores of a training: opened, compared with the model and with each other."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import STORE_MANIFEST, describe_input
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.metrics.losses import loss_parts
from cxr_cli.services.model_card import DataSource, LossChoice, ModelCard
from cxr_cli.services.store.manifest import check_recipe
from cxr_cli.services.store.reader import Store, open_store

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """A store as a model sees it.

    Attributes
    ----------
    store
        The open store.
    labels
        Float32, shape (n_images, n_pathologies), in the order of the model; NaN unknown.
    patients
        Patient ids, "" where unknown.
    source
        For the model card.
    key
        SHA-256 of what tells this store's pixels and labels from others.
    """

    store: Store
    labels: NDArray[np.float32]
    patients: tuple[str, ...]
    source: DataSource
    key: str

    @property
    def patients_known(self) -> bool:
        """Whether every image has a patient."""
        return all(self.patients)

    @property
    def patient_codes(self) -> NDArray[np.int64]:
        """A number for each patient, -1 where unknown."""
        places = {patient: place for place, patient in enumerate(sorted(set(self.patients) - {""}))}
        return np.array([places.get(patient, -1) for patient in self.patients], np.int64)


def open_training_data(folder: Path, card: ModelCard) -> TrainingData:
    """Open a store and check that its images are what the model takes.

    Raises
    ------
    InputError
        It is not a finished store, or has no images, or lacks a pathology of the model.
    UsageError
        Its images have another size or were standardized in another way than the model card says.
    """
    check_recipe(folder, card.image_size, card.preprocessing)
    store = open_store(folder)
    if not len(store):
        raise InputError(f"{folder}: the store has no images", remedy="Run 'cxr preprocess' again.")
    missing = [name for name in card.pathologies if name not in store.pathologies]
    if missing:
        raise InputError(
            f"{folder}: has no labels for {missing[0]}"
            + (f" ({len(missing)} such pathologies)" if len(missing) > 1 else ""),
            expected=f"the model's pathologies: {', '.join(card.pathologies)}",
            remedy="Preprocess a table with these pathologies, or build the model for those of the store.",
        )
    columns = [store.pathologies.index(name) for name in card.pathologies]
    labels = np.ascontiguousarray(store.labels[:, columns])
    patients = tuple(store.index["patient_id"].fillna("").astype(str))
    return TrainingData(store, labels, patients, _source(folder, store, labels, patients, card), _key(store))


def _source(
    folder: Path, store: Store, labels: NDArray[np.float32], patients: tuple[str, ...], card: ModelCard
) -> DataSource:
    positive, known = (labels == 1).sum(axis=0), (~np.isnan(labels)).sum(axis=0)
    return DataSource(
        store=describe_input(folder / STORE_MANIFEST),
        tables=store.manifest.inputs,
        n_images=len(store),
        n_patients=len(set(patients)) if all(patients) else None,
        n_positive=dict(zip(card.pathologies, positive.tolist(), strict=True)),
        n_known=dict(zip(card.pathologies, known.tolist(), strict=True)),
    )


def _key(store: Store) -> str:
    """Hash the store's records of its images, and size and time of the array that holds them."""
    digest = hashlib.sha256((store.folder / STORE_MANIFEST).read_bytes())
    digest.update((store.folder / store.manifest.index).read_bytes())
    if store.manifest.recipe.format == "npy":
        stat = (store.folder / store.manifest.store).stat()
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def check_labels(data: TrainingData, loss: LossChoice, card: ModelCard) -> None:
    """Refuse a loss that does not suit the labels, and labels from which nothing can be learnt.

    Raises
    ------
    UsageError
        Categorical cross-entropy where images have several findings, none, or unknown labels.
    InputError
        No pathology has both positives and negatives.
    """
    labels = data.labels
    positives = (labels == 1).sum(axis=1)
    if loss.name == "categorical-crossentropy":
        n_several, n_none = int((positives > 1).sum()), int((positives == 0).sum())
        if n_several or n_none or np.isnan(labels).any() or labels.shape[1] == 1:
            raise UsageError(
                f"loss 'categorical-crossentropy' takes the pathologies as exclusive, but of {len(labels):,} images of "
                f"{data.store.folder} {n_several:,} have several findings and {n_none:,} have none",
                remedy=f"Pass {argument('loss', 'binary-crossentropy')}, or {argument('class_weights')} for "
                "weighted-bce.",
            )
    if not ((labels == 1).any(axis=0) & (labels == 0).any(axis=0)).any():
        raise InputError(
            f"{data.store.folder}: no pathology of the model has both positives and negatives",
            expected=f"labels 1 and 0 of {', '.join(card.pathologies[:3])}, …",
        )


def best_constant(labels: NDArray[np.float32], loss: LossChoice) -> Floats:
    """Return the constant probability of each pathology at which the loss is least.

    w₊ p / (w₊ p + w₋ (1 − p)) with the prevalence p over known labels; half an image is added to the rarer side where
    there is none, so that no probability is 0 or 1.

    Parameters
    ----------
    labels
        Shape (n_images, n_pathologies); 1, 0 or NaN.
    loss
        With class weights in the order of the columns.

    Returns
    -------
    Float64, shape (n_pathologies,), between 0 and 1; 0.5 where no label is known.
    """
    positive = np.maximum((labels == 1).sum(axis=0).astype(float), 0.5)
    negative = np.maximum((labels == 0).sum(axis=0).astype(float), 0.5)
    if loss.class_weights is not None:
        positive = positive * np.array(loss.class_weights.positive)
        negative = negative * np.array(loss.class_weights.negative)
    best: Floats = positive / (positive + negative)
    return best


def logits(probabilities: Floats) -> Floats:
    """Return log(p / (1 − p))."""
    odds: Floats = np.log(probabilities) - np.log1p(-probabilities)
    return odds


def mean_loss(labels: NDArray[np.float32], probabilities: NDArray[Any], loss: LossChoice) -> float:
    """Return the loss that training minimises, in NumPy: the mean over images; unknown labels add nothing."""
    values = np.clip(np.asarray(probabilities, float), 1e-7, 1 - 1e-7)
    if loss.name == "categorical-crossentropy":
        chances = values / values.sum(axis=1, keepdims=True)
        return float(-(labels * np.log(chances)).sum(axis=1).mean())
    weights = loss.class_weights
    even = np.full(labels.shape[1], 1 / labels.shape[1])
    positive, negative = (even, even) if weights is None else (np.array(weights.positive), np.array(weights.negative))
    parts = loss_parts(labels, values, positive, negative, epsilon=0.0, reduction="sum")
    total = math.fsum(np.concatenate(parts).tolist())
    return total / len(labels)
