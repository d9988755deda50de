"""A saved classifier, built anew and filled with its weights: nothing in the file decides what is built or run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cxr_cli.errors import InputError
from cxr_cli.models.densenet import build_densenet
from cxr_cli.models.pretrained import load_pretrained
from cxr_cli.services.model_card import ModelCard, read_model_card

Floats = NDArray[np.float32]


def open_classifier(path: Path | str) -> tuple[keras.Model, ModelCard]:
    """Build the DenseNet121 that a model card describes and load the weights of its file.

    ``keras.models.load_model`` would build whatever the file says; here only numbers come from it.

    Parameters
    ----------
    path
        What ``cxr build-model`` or ``cxr train`` saved, with its card beside it.

    Returns
    -------
    model, card
        The model is not compiled; all its layers are trainable.

    Raises
    ------
    InputError
        Model or card is missing or damaged, or they do not belong together.
    """
    path = Path(path)
    card = read_model_card(path)
    model = build_densenet(card.pathologies, card.image_size, mixed_precision=card.mixed_precision)
    load_pretrained(model, path, keep_head=True)
    return model, card


class _Hand(keras.callbacks.Callback):  # type: ignore[misc]
    """Hands over the outputs of each batch and forgets them."""

    def __init__(self, take: Callable[[int, Any], None]) -> None:
        super().__init__()
        self.take = take

    def on_predict_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Hand over the outputs of a batch."""
        self.take(batch, np.asarray((logs or {})["outputs"]))


def outputs_of(model: keras.Model, batches: keras.utils.PyDataset, take: Callable[[int, Any], None]) -> None:
    """Run a model over batches, which are read ahead, and hand over what it returns for each.

    Parameters
    ----------
    model
        The whole or a part of a classifier.
    batches
        Of (images, …).
    take
        Called with the number of a batch and its outputs, in order.

    Raises
    ------
    InputError
        An output is NaN or infinite.
    """

    def checked(batch: int, outputs: Any) -> None:
        if not np.isfinite(outputs).all():
            raise InputError(
                f"batch {batch + 1}: the network's output is NaN or infinite",
                remedy="Look at the images of this batch in the store, and at the model's weights.",
            )
        take(batch, outputs)

    model.predict(batches, verbose=0, callbacks=[_Hand(checked)])


def in_chunks(n_items: int, chunk: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the (first, last + 1) of consecutive chunks, beginning at `start`."""
    for first in range(start, n_items, chunk):
        yield first, min(first + chunk, n_items)
