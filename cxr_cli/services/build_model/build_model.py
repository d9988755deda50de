"""Build, load, freeze, compile, describe and save a DenseNet121 classifier of chest X-rays."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxr_cli import __version__
from cxr_cli.data.files import OutputFile, Outputs, describe_input
from cxr_cli.data.labels import LabelCounts, LabelTable
from cxr_cli.errors import InputError, UsageError, argument
from cxr_cli.services.build_model.options import ModelOptions, choose_loss
from cxr_cli.services.build_model.pretrained import Pretrained, read_pretrained
from cxr_cli.services.build_model.result import BuildModelResult
from cxr_cli.services.keras_backend import require_tensorflow
from cxr_cli.services.model_card import LabelSummary, LossChoice, ModelCard, PretrainedWeights, model_card_path

if TYPE_CHECKING:
    import keras


def build_model(
    options: ModelOptions,
    *,
    table: LabelTable | None = None,
    save: Path | None = None,
    outputs: Outputs | None = None,
    pretrained: Pretrained | None = None,
) -> BuildModelResult:
    """Build a model, load its weights, freeze, compile, describe and save it.

    Parameters
    ----------
    options
        What to build.
    table
        The labels it is to be trained on, for the numbers behind the choice of the loss.
    save
        Where the model is saved (``.keras``), its model card beside it under the same name with ``.json`` added.
    outputs
        Where plots are written; takes note of all files written. None writes the model only.
    pretrained
        Result of `read_weights` for the same options, if it was called already.

    Raises
    ------
    UsageError
        Options contradict each other or lie outside their range.
    InputError
        The weights cannot be loaded, or the class weights are not those of the pathologies. Nothing is saved.
    OutputError
        The model cannot be written.
    """
    if save is not None and save.suffix != ".keras":
        raise UsageError(argument("save", str(save)), expected="a file ending in .keras")
    outputs = Outputs(Path(), plots=False) if outputs is None else outputs
    if save is not None:
        outputs.refuse_input(save)
        outputs.refuse_to_replace(model_card_path(save), folder=Path())
    labels = None if table is None else summarise_labels(table, options.pathologies)
    model, origin = assemble(options, pretrained)
    from cxr_cli.models.architecture import describe_model

    result = BuildModelResult(
        model=model.name,
        pathologies=options.pathologies,
        image_size=options.image_size,
        preprocessing=options.preprocessing,
        loss=choose_loss(options),
        metrics=("auroc", "auprc"),
        labels=labels,
        pretrained=origin,
        freeze=options.freeze,
        learning_rate=options.learning_rate,
        mixed_precision=options.mixed_precision,
        seed=options.seed,
        architecture=describe_model(model),
        versions=_versions(),
    )
    if save is not None:
        result = _save(model, result, save, outputs)
    if outputs.plots:
        from cxr_cli.plots.build_model import plot_architecture, plot_depth

        outputs.write_figure("architecture.png", plot_architecture(result))
        outputs.write_figure("depth.png", plot_depth(result))
    return result


def read_weights(options: ModelOptions) -> Pretrained | None:
    """Read the weight file that the options name, without Keras; None if they name none, or ImageNet's.

    A wrong file is refused here in less time than Keras takes to load.

    Raises
    ------
    InputError, UsageError
        As `cxr_cli.services.build_model.pretrained.read_pretrained`.
    """
    if options.pretrained in ("none", "imagenet"):
        return None
    return _read(Path(options.pretrained), options)


def _read(path: Path, options: ModelOptions) -> Pretrained:
    if options.keep_head:
        _check_model_card_of(path, options.pathologies)
    return read_pretrained(path, n_units=len(options.pathologies) if options.keep_head else None)


def assemble(options: ModelOptions, pretrained: Pretrained | None = None) -> tuple[keras.Model, PretrainedWeights]:
    """Build the Keras model itself: loaded, frozen, compiled; also return the origin of its weights.

    For training right away, without a file in between. `pretrained` is what `read_weights` returned, if it was called
    already.

    Raises
    ------
    UsageError, InputError
        As :func:`build_model`.
    """
    if pretrained is None:
        pretrained = read_weights(options)
    require_tensorflow()
    from cxr_cli.models.densenet import build_densenet, compile_densenet, freeze
    from cxr_cli.models.metrics import PathologyRanking

    model = build_densenet(
        options.pathologies, options.image_size, seed=options.seed, mixed_precision=options.mixed_precision
    )
    origin = _load(model, options, pretrained)
    freeze(model, options.freeze)
    compile_densenet(
        model,
        _keras_loss(choose_loss(options)),
        learning_rate=options.learning_rate,
        metrics=[PathologyRanking(options.pathologies)],
    )
    return model, origin


def summarise_labels(table: LabelTable, pathologies: Sequence[str]) -> LabelSummary:
    """Count what the choice of a loss depends on.

    Raises
    ------
    UsageError
        The table lacks one of the pathologies.
    """
    for name in pathologies:
        if name not in table.pathologies:
            raise UsageError(
                f"{table.path}: has no pathology {name}", expected=f"one of {', '.join(table.pathologies)}"
            )
    labels = table.labels[:, [table.pathologies.index(name) for name in pathologies]]
    findings = (labels == 1).sum(axis=1)
    counts = LabelCounts.of(labels)
    return LabelSummary(
        path=str(table.path),
        uncertain=table.uncertain,
        n_uncertain=table.n_uncertain,
        n_images=table.n_images,
        n_without_finding=int((findings == 0).sum()),
        n_with_several=int((findings > 1).sum()),
        n_unknown=int(counts.n_unknown.sum()),
        prevalence=dict(zip(pathologies, counts.prevalence.tolist(), strict=True)),
    )


def _keras_loss(loss: LossChoice) -> Any:
    weights = loss.class_weights
    if weights is None:
        return loss.name.replace("-", "_")
    from cxr_cli.models.losses import WeightedBinaryCrossentropy

    return WeightedBinaryCrossentropy(weights.pathologies, weights.positive, weights.negative)


def _load(model: keras.Model, options: ModelOptions, pretrained: Pretrained | None) -> PretrainedWeights:
    if options.pretrained == "none":
        return PretrainedWeights("random", None, None, None, 0, 0, "new", None, False, "nothing")
    from cxr_cli.models.imagenet import imagenet_file, is_imagenet_file
    from cxr_cli.models.pretrained import assign_pretrained

    if pretrained is None:
        pretrained = _read(imagenet_file(), options)
    path = pretrained.path
    loaded = assign_pretrained(model, pretrained)
    published = is_imagenet_file(path)
    return PretrainedWeights(
        source="imagenet" if published else "file",
        file=describe_input(path),
        layout=loaded.layout,
        matched_by=loaded.matched_by,
        n_arrays=loaded.n_arrays,
        n_parameters=loaded.n_parameters,
        head={"none in file": "new", "left out": "new (that of the file left out)"}.get(loaded.head, loaded.head),
        n_head_units=loaded.n_head_units,
        untrained=loaded.untrained,
        trained_on="ImageNet" if published else "unknown",
    )


def _check_model_card_of(path: Path, pathologies: tuple[str, ...]) -> None:
    """Refuse to keep a head whose model card lists other pathologies, or another order."""
    try:
        document = json.loads(model_card_path(path).read_text(encoding="utf-8"))
        theirs = tuple(document["pathologies"])
    except (OSError, ValueError, LookupError, TypeError):
        return  # not a model of ours: what its units stand for is unknown, and the command says so
    if theirs != pathologies:
        raise InputError(
            f"{path}: its head is for {', '.join(map(str, theirs))}, in this order",
            expected=", ".join(pathologies),
            remedy=f"Build the model for these pathologies in this order, or drop {argument('keep_head')}.",
        )


def _save(model: keras.Model, result: BuildModelResult, save: Path, outputs: Outputs) -> BuildModelResult:
    from cxr_cli.models.saving import save_model

    with outputs.path(save, folder=Path(), named_by_user=True) as temporary:
        save_model(model, temporary)
        written = describe_input(temporary)
    saved = OutputFile(str(save), written.size, written.sha256)
    model_card(result, saved).write(outputs, save)
    return replace(result, saved=saved, model_card=str(model_card_path(save)))


def model_card(result: BuildModelResult, saved: OutputFile) -> ModelCard:
    """Return the card of a saved model: all that is needed to use, judge and rebuild it."""
    return ModelCard(
        model=saved,
        pathologies=result.pathologies,
        image_size=result.image_size,
        preprocessing=result.preprocessing,
        pretrained=result.pretrained,
        loss=result.loss,
        metrics=result.metrics,
        freeze=result.freeze,
        learning_rate=result.learning_rate,
        mixed_precision=result.mixed_precision,
        seed=result.seed,
        parameters=result.architecture.model.to_dict(),
        labels=result.labels,
        versions=result.versions,
    )


def _versions() -> dict[str, str]:
    import keras

    backend = keras.config.backend()
    return {
        "cxr": __version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": f"{backend} {version(backend)}",
        "numpy": np.__version__,
    }
