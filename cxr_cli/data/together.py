"""Several rows of one image: boxes or the views of readers brought together, and contradicting rows found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.labels import Links
from cxr_cli.data.records import Records

Labels = NDArray[np.float32]


class Together:
    """The rows of one table, by image.

    Attributes
    ----------
    first
        The first record of each image, where records were brought together.
    """

    def __init__(self, source: Records) -> None:
        self.source = source
        self.first: NDArray[np.int64] | None = None

    def check_duplicates(
        self, frame: pd.DataFrame, names: Sequence[str], numbers_: NDArray[np.int64], pathologies: Sequence[str]
    ) -> None:
        """Note images that several rows name, and rows of them that contradict each other."""
        ordered = np.sort(numbers_)
        images = frame["image"]
        # Names with distinct numbers are distinct: much sooner seen than with names.
        if ordered[0] >= 0 and (np.diff(ordered) > 0).all():
            return
        # So are names with distinct hashes.
        hashes = np.sort(np.fromiter(map(hash, names), np.int64, len(names)))
        if (np.diff(hashes) != 0).all():
            return
        repeated = images.duplicated().to_numpy()
        self.source.issue("duplicate-image", "image named by an earlier row too", np.flatnonzero(repeated))
        several = np.flatnonzero(images.duplicated(keep=False).to_numpy())
        codes, _ = pd.factorize(images.iloc[several])
        said = frame[["patient_id", *pathologies]].iloc[several]
        first = np.unique(codes, return_index=True)[1][codes]
        differs = np.zeros(len(several), dtype=bool)
        for name in said.columns:
            values = said[name].cat.codes.to_numpy() if name == "patient_id" else said[name].to_numpy()
            both_blank = (values != values) & (values[first] != values[first])
            differs |= (values != values[first]) & ~both_blank
        wrong = np.isin(codes, codes[differs])
        self.source.issue(
            "contradicting-rows",
            "rows that name one image and contradict each other in labels or patient: all of them are kept",
            several[wrong],
        )

    def bring(
        self, frame: pd.DataFrame, pathologies: Sequence[str], cells: pd.DataFrame
    ) -> tuple[pd.DataFrame, Links, str]:
        """Bring the rows of each image together: boxes, or the views of its readers."""
        codes, distinct = pd.factorize(frame["image"])
        codes = codes.astype(np.int64)
        n_images = len(distinct)
        first = np.full(n_images, len(codes), dtype=np.int64)
        np.minimum.at(first, codes, np.arange(len(codes)))
        self.first = first
        together = frame.iloc[first].reset_index(drop=True)
        reader = self.source.roles.reader
        votes: NDArray[np.int64] | None = None
        n_readers = np.ones(n_images)
        if reader is not None:
            by_reader, _ = pd.factorize(cells[reader].astype("str"), use_na_sentinel=False)
            pair = codes * (int(by_reader.max()) + 1) + by_reader
            votes, distinct_pairs = pd.factorize(pair)
            image_of_vote = distinct_pairs // (int(by_reader.max()) + 1)
            n_readers = np.bincount(image_of_vote, minlength=n_images).astype(np.float64)
        for name in pathologies:
            values = frame[name].to_numpy()
            if votes is None:
                together[name] = _any_of(values, codes, n_images)
                continue
            said = _any_of(values, votes, len(image_of_vote))
            yes = np.bincount(image_of_vote, weights=said == 1, minlength=n_images)
            unknown = np.bincount(image_of_vote, weights=np.isnan(said), minlength=n_images)
            known = n_readers - unknown
            needed: Any = {"any": 1.0, "majority": np.floor(known / 2) + 1, "all": np.maximum(known, 1)}[
                self.source.reading.readers
            ]
            merged = (yes >= needed).astype(np.float32)
            merged[known == 0] = np.nan
            together[name] = merged
        for name in ("patient_id", "age", "sex", "view", "split"):
            if name in frame:
                self._one_value(frame[name], codes, first, name)
        order = np.argsort(codes, kind="stable")
        links = Links(order.astype(np.int64), codes[order])
        how = (
            f"; {self.source.reading.readers} reader"
            if votes is not None
            else "; a finding is present where any row says so"
        )
        if votes is not None and self.source.reading.readers != "any":
            how = f"; {'a majority' if self.source.reading.readers == 'majority' else 'all'} of the readers"
        aggregation = f"{n_images:,} images from {len(frame):,} rows{how}"
        return together, links, aggregation

    def _one_value(self, column: pd.Series[Any], codes: NDArray[np.int64], first: NDArray[np.int64], name: str) -> None:
        values = column.cat.codes.to_numpy() if isinstance(column.dtype, pd.CategoricalDtype) else column.to_numpy()
        theirs = values[first][codes]
        differs = (values != theirs) & ~((values != values) & (theirs != theirs))
        self.source.issue(
            "contradicting-rows",
            f"rows of one image that differ in {name}: the first is taken",
            np.flatnonzero(differs),
        )


def _any_of(values: NDArray[np.float32], codes: NDArray[np.int64], n: int) -> Labels:
    """Return 1 where any value of a group is 1, else 0 where any is 0, else NaN."""
    positive = np.bincount(codes, weights=values == 1, minlength=n) > 0
    negative = np.bincount(codes, weights=values == 0, minlength=n) > 0
    return np.where(positive, 1, np.where(negative, 0, np.nan)).astype(np.float32)


def recoded(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Return codes and ids of a column of patients, of those alone that occur."""
    codes, kept = pd.factorize(column.cat.codes.to_numpy())
    known = np.array([code >= 0 for code in kept], dtype=bool)
    places = np.append(np.where(known, np.cumsum(known) - 1, -1), -1)
    names = [str(column.cat.categories[int(code)]) for code in kept if code >= 0]
    return places[codes].astype(np.int64), names
