"""Class weights as code to paste: the loss for Keras and for PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxr_cli.services.weights.result import WeightsResult

_KERAS = """\
# {title}
{import_reader}from cxr_cli.models.losses import WeightedBinaryCrossentropy

{weights}# The model has one sigmoid output per pathology, in this order (if it ends in logits: from_logits=True).
loss = WeightedBinaryCrossentropy({arguments})
model.compile(optimizer="adam", loss=loss)

# Do not pass these weights to model.fit(class_weight=...): for labels with many pathologies it silently weights each
# image by the argmax of its labels. An unknown label is NaN: it adds neither loss nor gradient.
"""

_TORCH = '''\
# {title}
import torch

pathologies = {pathologies}
positive = torch.tensor({positive})
negative = torch.tensor({negative})

# BCEWithLogitsLoss multiplies only the positives, by pos_weight, and takes the mean over all cells. In the weighted
# loss of cxr (mean over images, sum over pathologies) negatives weigh `negative`, here they weigh 1: the balance
# inside a pathology is the same, the balance between pathologies and the size of the loss are not. And one label
# that is NaN makes this loss NaN.
pos_weight = positive / negative
simple_loss = torch.nn.BCEWithLogitsLoss(pos_weight=pos_weight)

# With `weight` as well, and the sum and mean below, it is the loss of cxr; labels that are NaN are left out.
cell_loss = torch.nn.BCEWithLogitsLoss(weight=negative, pos_weight=pos_weight, reduction="none")


def loss(logits, labels):
    """Take logits and labels of shape (n_images, n_pathologies); cell_loss.to(device) moves the weights."""
    known = ~torch.isnan(labels)
    cells = cell_loss(logits, torch.nan_to_num(labels))
    return torch.where(known, cells, 0.0).sum(dim=1).mean()
'''


def keras_code(result: WeightsResult, title: str, saved: Path | None = None) -> str:
    """Return Python code that makes the Keras loss with these weights.

    Parameters
    ----------
    result
        The weights.
    title
        A comment that says where they come from.
    saved
        File that the weights were saved in: the code reads it. Without, the code holds the numbers.
    """
    weights = result.class_weights
    if saved is not None:
        return _KERAS.format(
            title=_one_line(title),
            import_reader="from cxr_cli.data.class_weights import read_class_weights\n",
            weights=f"weights = read_class_weights({str(saved)!r})\n",
            arguments="weights.pathologies, weights.positive, weights.negative",
        )
    lines = (
        f"pathologies = {_listed([repr(name) for name in weights.pathologies])}\n"
        f"positive = {_listed([repr(value) for value in weights.positive])}\n"
        f"negative = {_listed([repr(value) for value in weights.negative])}\n"
    )
    return _KERAS.format(
        title=_one_line(title), import_reader="", weights=lines, arguments="pathologies, positive, negative"
    )


def torch_code(result: WeightsResult, title: str) -> str:
    """Return Python code that makes PyTorch's ``BCEWithLogitsLoss`` with these weights, and how it differs.

    Parameters
    ----------
    result
        The weights.
    title
        A comment that says where they come from.
    """
    weights = result.class_weights
    return _TORCH.format(
        title=_one_line(title),
        pathologies=_listed([repr(name) for name in weights.pathologies]),
        positive=_listed([repr(value) for value in weights.positive]),
        negative=_listed([repr(value) for value in weights.negative]),
    )


def _listed(items: Sequence[str]) -> str:
    """Write a list over several lines, one item a line where there are many."""
    if len(items) <= 4:
        return f"[{', '.join(items)}]"
    return "[\n" + "".join(f"    {item},\n" for item in items) + "]"


def _one_line(text: str) -> str:
    # A file name may hold a line break; it must not end the comment and become code.
    return " ".join(text.split())
