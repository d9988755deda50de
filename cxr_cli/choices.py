"""Closed choices, each declared once: the types of options on the command line, of library arguments and of results.

Standard library only, so that the command line can show its help without loading anything else.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

from cxr_cli.errors import UsageError, argument

#: What an uncertain label (CheXpert's -1) becomes.
UncertainPolicy = Literal["ignore", "positive", "negative"]
#: Of several readers of an image, how many must see a finding for it to be present.
ReadersPolicy = Literal["any", "majority", "all"]
#: How grey levels from 0 to 255 become what a network sees.
Standardization = Literal["samplewise", "featurewise", "imagenet", "torchxrayvision", "none"]
#: How pixels of the resized image come from those of the source.
Interpolation = Literal["area", "nearest", "bilinear", "bicubic", "lanczos"]
#: What a store holds: standardized values, or grey levels that are standardized on reading.
PixelType = Literal["float32", "uint8"]
#: One array of all images, or one file per image.
StoreFormat = Literal["npy", "png"]
#: Which code makes the pixels: cxr's own, or Keras' ImageDataGenerator.
Engine = Literal["fast", "keras"]
#: What is removed from a split; each level includes those before it.
RemovalLevel = Literal["patients", "exact-duplicates", "near-duplicates"]
#: Leakage was found; nothing was found and everything was compared; or not everything could be compared.
Verdict = Literal["leakage", "clean", "unchecked"]
#: How class weights follow from the numbers of positives and negatives.
Scheme = Literal["frequency", "w-cel", "balanced", "effective-number"]
#: How the labels of one pathology are put together.
Reduction = Literal["mean", "sum"]
#: Frameworks that code can be printed for.
Framework = Literal["keras", "torch"]
#: What training minimises.
Loss = Literal["categorical-crossentropy", "binary-crossentropy", "weighted-bce"]
#: How maps of where a model looks are computed; auto: class activation maps where they are exact.
MapMethod = Literal["auto", "cam", "grad-cam"]
#: Reporting checklists that a report answers item by item.
Checklist = Literal["claim", "tripod-ai", "datasheet", "model-card"]
#: How much of a network is shown.
Summary = Literal["blocks", "layers", "full"]
#: What a draw of the bootstrap takes.
Unit = Literal["patient", "image"]

#: Parts of a network that are trained one after the other.
TrainStage = Literal["features", "last-block", "all"]
#: Which validation metric chooses the epoch.
Monitor = Literal["auroc", "auprc", "loss"]
#: How training images are varied.
Augmentation = Literal["flip", "geometric"]
#: What cached activations are kept as.
CacheType = Literal["float32", "float16"]


def choices(kind: Any) -> tuple[Any, ...]:
    """Return the values of one of the types above, in order.

    Examples
    --------
    >>> choices(PixelType)
    ('float32', 'uint8')
    """
    return get_args(kind)


def checked(kind: Any, value: object, name: str) -> Any:
    """Return a value if it is one of the choices.

    Parameters
    ----------
    kind
        One of the types above.
    value
        What was given.
    name
        The argument it was given for.

    Raises
    ------
    UsageError
        It is something else.

    Examples
    --------
    >>> checked(PixelType, "uint8", "dtype")
    'uint8'
    """
    if not isinstance(value, str) or value not in get_args(kind):
        raise UsageError(argument(name, value), expected=f"one of {', '.join(get_args(kind))}")
    return value
