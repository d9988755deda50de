"""Age, sex, view, follow-up and split of the rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_cli.data.cells import MAX_AGE_YEARS, categories, numbers, read_ages, read_sex
from cxr_cli.data.records import Records, categorical, some


class Demographics:
    """The columns of one table that describe the person and the view."""

    def __init__(self, source: Records) -> None:
        self.source = source

    def read(self, cells: pd.DataFrame) -> dict[str, Any]:
        """Return the columns that the table has, one value a row."""
        roles = self.source.roles
        found: dict[str, Any] = {}
        if roles.ages:
            found["age"] = self._ages(cells)
        if roles.sex:
            found["sex"] = self._sexes(categorical(cells[roles.sex]))
        if roles.view:
            found["view"] = self._views(cells)
        if roles.follow_up:
            found["follow_up"] = self._follow_ups(cells[roles.follow_up], roles.follow_up)
        if roles.split:
            column = categorical(cells[roles.split])
            written = np.array([*(str(item).strip() or None for item in column.cat.categories), None], dtype=object)
            found["split"] = categories(written, column.cat.codes.to_numpy())
        return found

    def _follow_ups(self, column: pd.Series[Any], name: str) -> NDArray[np.float64]:
        values = column.to_numpy(dtype=np.float64) if column.dtype.kind in "iuf" else numbers(self.source.texts[name])
        strange = np.flatnonzero(np.isinf(values) | (values < 0))
        self.source.issue("follow-up-unreadable", "follow-up that is not a number: taken as unknown", strange)
        return np.where(np.isfinite(values) & (values >= 0), values, np.nan)

    def _ages(self, cells: pd.DataFrame) -> NDArray[np.float64]:
        if self.source.schema.parse_ages is not None:
            years = np.asarray(self.source.schema.parse_ages(cells), dtype=np.float64)
            wrong = np.flatnonzero((years < 0) | (years > MAX_AGE_YEARS))
            self.source.issue(
                "age-out-of-range", f"age below 0 or above {MAX_AGE_YEARS} years: taken as unknown", wrong
            )
            years[wrong] = np.nan
            return years
        column = categorical(cells[self.source.roles.ages[0]])
        codes, written = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
        ages = read_ages(written)
        for kind, these, message in (
            ("age-converted", ages.converted, "age in months, weeks or days: converted to years"),
            ("age-out-of-range", ages.too_old, f"age above {MAX_AGE_YEARS} years: taken as unknown"),
            ("age-unreadable", ages.unreadable, "age that is not a number: taken as unknown"),
        ):
            if these:
                self.source.issue(kind, f"{message} ({some(written, these)})", np.flatnonzero(np.isin(codes, these)))
        return ages.years[codes]

    def _sexes(self, column: pd.Series[Any]) -> Any:
        codes, written = column.cat.codes.to_numpy(), [str(item) for item in column.cat.categories]
        sexes = np.array([*(read_sex(text) for text in written), None], dtype=object)
        odd = [code for code, text in enumerate(written) if sexes[code] is None and text.strip()]
        if odd:
            self.source.issue(
                "sex-unreadable",
                f"sex neither M nor F: taken as unknown ({some(written, odd)})",
                np.flatnonzero(np.isin(codes, odd)),
            )
        return categories(sexes, codes)

    def _views(self, cells: pd.DataFrame) -> Any:
        assert self.source.roles.view is not None
        column = categorical(cells[self.source.roles.view])
        written = np.array([*(str(item).strip() or None for item in column.cat.categories), None], dtype=object)
        codes = column.cat.codes.to_numpy()
        if not self.source.roles.lateral:
            return categories(written, codes)
        lateral = categorical(cells[self.source.roles.lateral])
        names = np.array([*(str(item).strip() or None for item in lateral.cat.categories), None], dtype=object)
        # Each pair of values is understood once; code -1, a blank cell, finds the last.
        pairs = [side if view is None or side == "Lateral" else view for view in written for side in names]
        places = (codes.astype(np.int64) % len(written)) * len(names) + lateral.cat.codes.to_numpy() % len(names)
        occur = np.flatnonzero(np.bincount(places, minlength=len(pairs))).tolist()
        distinct = sorted({pairs[place] for place in occur if pairs[place] is not None})
        position = np.array([distinct.index(pair) if pair in distinct else -1 for pair in pairs])
        return pd.Categorical.from_codes(position[places], pd.Index(distinct, dtype="str"))
