"""Training options checked before Keras is loaded."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_cli.choices import Augmentation, CacheType, Loss, Monitor, TrainStage, checked, choices
from cxr_cli.data.class_weights import ClassWeights
from cxr_cli.errors import UsageError, argument
from cxr_cli.services.model_card import LossChoice, ModelCard
from cxr_cli.services.result import Result


@dataclass(frozen=True)
class TrainOptions(Result):
    """How to train.

    Attributes
    ----------
    stages
        In order, each at most once: "features" (the head on pooled features), "last-block" (the last dense block and
        the head), "all".
    epochs
        Most epochs in a stage.
    patience
        Epochs without a better value after which a stage ends.
    monitor
        Criterion that chooses the epoch, on the validation images: mean AUROC, mean average precision, or the loss.
    batch_size
        Images in a step.
    augment
        "flip": half of the images mirrored left to right, in every stage. "geometric": random rotations, shifts and
        zooms too, in stage "all" only.
    learning_rate
        Adam's step size in each stage; one value for all of them; or empty: the model card's, and a tenth of it after
        stage "features".
    loss
        None: the model's.
    class_weights
        For loss "weighted-bce"; None: the model's.
    seed
        Of the order of images and of augmentation.
    runs
        Trainings with seeds counted up from `seed`.
    allow_leakage
        Train although patients are in both stores.
    time_limit
        Minutes after which no further epoch is begun; None without.
    cache_type
        Number type of cached activations of stage "last-block".
    tensorboard
        Write TensorBoard's logs.
    n_draws
        Draws of the bootstrap over patients that tells learning from chance.

    Raises
    ------
    UsageError
        An option lies outside its range, or two contradict each other.
    """

    stages: tuple[TrainStage, ...] = ("features",)
    epochs: int = 50
    patience: int = 3
    monitor: Monitor = "auroc"
    batch_size: int = 32
    augment: tuple[Augmentation, ...] = ()
    learning_rate: tuple[float, ...] = ()
    loss: Loss | None = None
    class_weights: ClassWeights | None = None
    seed: int = 0
    runs: int = 1
    allow_leakage: bool = False
    time_limit: float | None = None
    cache_type: CacheType = "float32"
    tensorboard: bool = False
    n_draws: int = 1000

    def __post_init__(self) -> None:
        order = choices(TrainStage)
        for stage in self.stages:
            checked(TrainStage, stage, "stages")
        places = [order.index(stage) for stage in self.stages]
        if not places or places != sorted(set(places)):
            raise UsageError(
                argument("stages", self.stages, option=f"--stages {','.join(self.stages)}"),
                expected=f"some of {', '.join(order)}, in this order, each once",
            )
        for kind in self.augment:
            checked(Augmentation, kind, "augment")
        checked(Monitor, self.monitor, "monitor")
        checked(CacheType, self.cache_type, "cache_type")
        for name in ("epochs", "patience", "batch_size", "runs", "n_draws"):
            if getattr(self, name) < 1:
                raise UsageError(argument(name, getattr(self, name)), expected="at least 1")
        if len(self.learning_rate) not in (0, 1, len(self.stages)):
            raise UsageError(
                f"{len(self.learning_rate)} learning rates for {len(self.stages)} stages",
                expected="one, or one for each stage",
            )
        for rate in self.learning_rate:
            if not 0 < rate < float("inf"):
                raise UsageError(argument("learning_rate", rate), expected="a finite number above 0")
        if self.time_limit is not None and not self.time_limit > 0:
            raise UsageError(argument("time_limit", self.time_limit), expected="minutes, above 0")
        if "geometric" in self.augment and "all" not in self.stages:
            raise UsageError(
                f"{argument('augment', 'geometric')} needs stage 'all': the others train on cached activations, where "
                "images are not decoded again",
                remedy="Leave it out (flip works in every stage), or add stage all.",
            )
        if self.cache_type != "float32" and "last-block" not in self.stages:
            raise UsageError(f"{argument('cache_type', self.cache_type)} has no effect without stage 'last-block'")
        if self.class_weights is not None and self.loss not in (None, "weighted-bce"):
            raise UsageError(
                f"{argument('class_weights')} has no effect with {argument('loss', self.loss)}",
                remedy="Leave out one of them, or use weighted-bce.",
            )

    def rates(self, card: ModelCard) -> tuple[float, ...]:
        """Return the learning rate of each stage."""
        if len(self.learning_rate) == len(self.stages):
            return self.learning_rate
        if self.learning_rate:
            return self.learning_rate * len(self.stages)
        return tuple(card.learning_rate * (1 if stage == "features" else 0.1) for stage in self.stages)

    def chosen_loss(self, card: ModelCard) -> LossChoice:
        """Return the loss to train with, its class weights in the order of the model.

        Raises
        ------
        UsageError
            weighted-bce without class weights.
        InputError
            Class weights for other pathologies than the model's.
        """
        weights = self.class_weights
        name = self.loss or ("weighted-bce" if weights is not None else card.loss.name)
        if name != "weighted-bce":
            return LossChoice(name, None)
        weights = weights or card.loss.class_weights
        if weights is None:
            raise UsageError(
                f"{argument('loss', name)} needs class weights, and the model has none",
                remedy="Run 'cxr weights TABLE --save weights.json' on the training table and pass the file with "
                f"{argument('class_weights')}.",
            )
        return LossChoice(name, weights.in_order(card.pathologies))
