"""The loss of networks, made of section `train`: by name, with its settings, and with a teacher."""

from typing import TYPE_CHECKING

from factor_models import DistilledLoss, Loss, get_loss, is_classification

if TYPE_CHECKING:
    from stages.params import TrainParams


def training_loss(train: "TrainParams", horizons: tuple[int, ...]) -> Loss:
    """The loss of networks on these targets: of the labels, and with distillation of the teacher's forecasts too."""
    loss = get_loss(train.loss, [f"h{horizon}" for horizon in horizons], **vars(train.loss_settings))
    if train.distillation is None:
        return loss
    temperature = train.distillation.temperature if is_classification(train.loss) else None
    return DistilledLoss(loss, train.distillation.share, temperature)


def check_loss(train: "TrainParams", horizons: tuple[int, ...]) -> None:
    """Loss, its settings, target and distillation belong together; ValueError names the key and the rule."""
    is_direction = train.target == "direction"
    if is_classification(train.loss) and not is_direction:
        raise ValueError(
            f"loss: {train.loss} needs directions, target: {train.target} gives none; use direction"
        )
    if is_direction and not is_classification(train.loss):
        raise ValueError(f"loss: {train.loss} does not suit target: direction; use bce, focal or hinge")
    if train.distillation is not None and train.loss == "hinge":
        raise ValueError(
            "distillation: hinge has no chances that a teacher's could be compared with; use bce or focal"
        )
    regime = getattr(train.loss_settings, "regime", None)
    if regime is not None and train.target not in ("raw", "demeaned"):
        raise ValueError(
            f"loss_settings.regime: follows the dispersion of the targets, which target: {train.target} makes the same "
            "on every date; use raw or demeaned"
        )
    try:
        training_loss(train, horizons)
    except ValueError as error:
        raise ValueError(f"loss_settings: {error}") from None
