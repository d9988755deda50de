"""Patients and images that the stores of a training share, found by `check_leakage`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from cxr_cli.data.labels import LabelTable
from cxr_cli.data.listed_images import table_of_images
from cxr_cli.data.schemas import SCHEMAS
from cxr_cli.services.check_leakage.check_leakage import check_leakage
from cxr_cli.services.train.data import TrainingData


@dataclass(frozen=True)
class Overlap:
    """Patients and images common to two stores.

    Attributes
    ----------
    patients, images
        In the order of the first store.
    known
        Whether the patients were compared, and each image of both stores has one.
    unchecked
        If not: why, in words.
    """

    patients: tuple[str, ...]
    images: tuple[str, ...]
    known: bool
    unchecked: str | None


def overlap(train: TrainingData, valid: TrainingData) -> Overlap:
    """Return the patients and images that two stores share.

    Equal patient ids are one patient only where both tables number their patients alike.
    """
    pair = check_leakage({"train": _as_table(train), "valid": _as_table(valid)}).pairs[0]
    patients = () if pair.patients is None else tuple(item.patient_id for item in pair.patients.patients)
    unchecked = None
    if pair.patients_not_compared is not None:
        # The rest of the sentence names an option of check-leakage.
        reason = pair.patients_not_compared.partition(";")[0]
        unchecked = f"patients of train and valid could not be compared: {reason}"
        if pair.related is not None:
            unchecked += f"; {pair.related}"
    elif unknown := [
        f"{n:,} of {len(data.patients):,} images in {name}"
        for name, data in (("train", train), ("valid", valid))
        if (n := data.patients.count(""))
    ]:
        unchecked = (
            f"patients are unknown ({', '.join(unknown)}): whether train and valid share patients could not be checked"
        )
    return Overlap(
        patients=_in_order(train.patients, patients),
        images=_in_order(train.store.index["image"], pair.names.images),
        known=unchecked is None,
        unchecked=unchecked,
    )


def _in_order(values: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    chosen = set(wanted)
    return tuple(dict.fromkeys(str(value) for value in values if value in chosen))


def _as_table(data: TrainingData) -> LabelTable:
    """Return the images of a store as a label table that numbers patients as the table behind the store does."""
    read = table_of_images(data.store.folder, data.store.index["image"], data.patients)
    manifest = data.store.manifest
    if manifest.table_schema not in {schema.name for schema in SCHEMAS}:
        return read  # a store of an earlier version, or of a later one
    account = replace(read.account, patient_namespace=manifest.patient_namespace)
    return replace(read, schema=manifest.table_schema, account=account)
