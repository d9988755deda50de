"""Results without patient ids and image names, for logs that others read."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, TypeVar

from cxr_cli.data.labels import LabelTable
from cxr_cli.services.check_leakage.result import PatientOverlap, SharedNames
from cxr_cli.services.result import Result

AnyResult = TypeVar("AnyResult", bound=Result)


def salt_of(splits: Mapping[str, LabelTable]) -> bytes:
    """Return a salt that only who has the tables can know: a digest of what they hold.

    The same tables give the same salt, so that two logs of one run can be compared. It differs from the SHA-256 of
    the files that the JSON output shows.
    """
    digest = hashlib.blake2b(person=b"cxr hide-ids")
    for table in splits.values():
        digest.update(len(table.raw.content).to_bytes(8, "big"))
        digest.update(table.raw.content)
    return digest.digest()


def hide_ids(result: AnyResult, salt: bytes) -> AnyResult:
    """Return a result with every patient id and image name replaced by a salted hash.

    Fields are recognised by their metadata (``{"holds": "patient"}`` or ``{"holds": "image"}``). Lists that were in
    the order of ids are put in the order of the hashes, because their order would tell.
    """

    def alias(kind: str, text: str) -> str:
        return f"{kind}-{hmac.new(salt, f'{kind}:{text}'.encode(), 'sha256').hexdigest()[:12]}"

    hidden: AnyResult = _hidden(result, alias)
    return hidden


def _hidden(value: Any, alias: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes: dict[str, Any] = {}
        for item in dataclasses.fields(value):
            inside = getattr(value, item.name)
            kind = item.metadata.get("holds")
            changes[item.name] = _hidden(inside, alias) if kind is None else _replaced(inside, kind, alias)
        if isinstance(value, PatientOverlap):
            changes["patients"] = tuple(sorted(changes["patients"], key=lambda patient: patient.patient_id))
        if isinstance(value, SharedNames):
            changes["images"] = tuple(sorted(changes["images"]))
            changes["different_images"] = tuple(sorted(changes["different_images"]))
        return dataclasses.replace(value, **changes)
    if isinstance(value, tuple):
        return tuple(_hidden(item, alias) for item in value)
    return value


def _replaced(value: Any, kind: str, alias: Any) -> Any:
    if kind == "text":
        return () if isinstance(value, tuple) else None
    if isinstance(value, str):
        return alias(kind, value)
    if isinstance(value, tuple):
        return tuple(_replaced(item, kind, alias) for item in value)
    return value
