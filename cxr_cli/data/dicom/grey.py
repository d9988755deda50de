"""From stored values to grey: modality LUT, VOI LUT or window, polarity. Pure functions of arrays.

References
----------
DICOM PS3.3 C.11.1 (modality LUT and rescale), C.11.2 (VOI LUT and window), C.7.6.3.1.2 (photometric
interpretation), C.7.5.1.1.2 (pixel padding); PS3.4 N.2 (their order).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.dicom.terms import DicomRefused, Issue
from cxr_cli.errors import UsageError, argument, shown

#: Percentiles of the pixels that become black and white where a file of more than 8 bits has no window: all but
#: one pixel in a thousand at each end, so that a marker or a dead pixel does not set the range.
PERCENTILES = (0.1, 99.9)
#: White of the grey values, unless eight stored bits are passed on as they are.
FULL_SCALE = 65535
#: So many pixels are looked up at once: memory for indices stays small, and so do cache misses.
_BAND_PIXELS = 1 << 18

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """A window: which values become black and white, and how those between are spread.

    Parameters
    ----------
    centre, width
        In units after the modality LUT. The width is positive; for ``LINEAR`` at least 1.
    function
        ``LINEAR`` is the default of the standard; its centre and width count pixels, hence the offsets of a half
        and one in `fractions`.
    """

    centre: float
    width: float
    function: WindowFunction = "LINEAR"

    @property
    def is_usable(self) -> bool:
        """Whether the numbers have a meaning (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
        if not (math.isfinite(self.centre) and math.isfinite(self.width)):
            return False
        return self.width >= 1 if self.function == "LINEAR" else self.width > 0

    def fractions(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return where values lie in the window, 0 (black) to 1.

        References
        ----------
        DICOM PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT).
        """
        values = np.asarray(values, np.float64)
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):  # far below the window: exp is infinite, the fraction 0
                made: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-4.0 * (values - self.centre) / self.width))
                return made
        centre, width = (self.centre - 0.5, self.width - 1) if self.function == "LINEAR" else (self.centre, self.width)
        if width == 0:  # a LINEAR window of width 1 is a threshold
            return np.where(values > centre, 1.0, 0.0)
        fractions: NDArray[np.float64] = np.clip((values - centre) / width + 0.5, 0.0, 1.0)
        return fractions


@dataclass(frozen=True, eq=False)
class LookupTable:
    """A lookup table of the standard (PS3.3 C.11.1.1 and C.11.2.1.1).

    Parameters
    ----------
    first
        The value that the first entry stands for; values before it get the first entry, values behind the last get
        the last.
    entries
        Shape (n,), uint16.
    bits
        How many bits an entry has.
    """

    first: int
    entries: NDArray[np.uint16]
    bits: int

    def look_up(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the entries that values stand for."""
        # A fraction can only come of a rescale with a slope that is none: the standard wants whole values here.
        places = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        found: NDArray[np.float64] = self.entries[places].astype(np.float64)
        return found

    @property
    def highest(self) -> int:
        """The largest value that an entry can have by its bits, or by its entries where they exceed them."""
        largest = int(self.entries.max())
        return (1 << max(self.bits, largest.bit_length())) - 1

    @property
    def exceeds_bits(self) -> bool:
        """Whether an entry is larger than its bits allow."""
        return int(self.entries.max()) >> self.bits > 0


@dataclass(frozen=True)
class Rescale:
    """Units = slope × stored value + intercept (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0


#: Which window to take: None that of the file, "full" the range of all values that can be stored.
WindowChoice = Window | Literal["full"] | None


def read_window(text: str | None) -> WindowChoice:
    """Read a window as an option and a recipe write it: ``centre,width`` or ``full``.

    Raises
    ------
    UsageError
        It is neither.

    Examples
    --------
    >>> read_window("2048,4096"), read_window("full"), read_window(None)
    (Window(centre=2048.0, width=4096.0, function='LINEAR'), 'full', None)
    """
    if text is None or text == "full":
        return text  # type: ignore[return-value]
    try:
        centre, width = (float(part) for part in text.split(","))
        window = Window(centre, width)
    except ValueError:
        window = Window(math.nan, math.nan)
    if not window.is_usable:
        raise UsageError(
            argument("window", shown(text)),
            expected="centre,width with a width of at least 1, such as 2048,4096, or full",
        )
    return window


def window_text(window: WindowChoice) -> str | None:
    """Write a window so that `read_window` reads it, always in the same form.

    Examples
    --------
    >>> window_text(read_window(" 2048.0, 4096")), window_text("full")
    ('2048,4096', 'full')
    """
    return f"{window.centre:g},{window.width:g}" if isinstance(window, Window) else window


@dataclass(frozen=True)
class StoredRange:
    """Which values can be stored, and which of them are padding.

    Parameters
    ----------
    bits
        Bits stored.
    signed
        Two's complement.
    padding
        Lowest and highest value that stand for "no pixel here", or None.
    """

    bits: int
    signed: bool = False
    padding: tuple[int, int] | None = None

    @property
    def lowest(self) -> int:
        """The smallest value that can be stored."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest value that can be stored."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


@dataclass(frozen=True)
class Rendering:
    """How the stored values of an image become grey.

    Parameters
    ----------
    stored
        Which values can be stored.
    modality
        First step.
    voi
        Second step as the file has it: a lookup table, a window, or None.
    inverts
        Third step: the photometric interpretation is MONOCHROME1, in which the largest value is black.
    window
        What takes the place of `voi`.
    """

    stored: StoredRange
    modality: LookupTable | Rescale = Rescale()
    voi: LookupTable | Window | None = None
    inverts: bool = False
    window: WindowChoice = None


def to_grey(
    values: NDArray[Any], rendering: Rendering
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], tuple[Issue, ...]]:
    """Turn stored values into grey: 0 is black, whatever the photometric interpretation.

    Parameters
    ----------
    values
        Stored values, shape (height, width); integers of 8, 16 or 32 bits, in the byte order of the machine.
    rendering
        The steps.

    Returns
    -------
    pixels
        Shape (height, width). uint8 (full scale 255) where eight bits or fewer span the whole range as they are,
        otherwise uint16 (full scale 65535).
    issues
        Assumptions made on the way.

    Raises
    ------
    DicomRefused
        The modality step gives no numbers.
    """
    counted = _Counted.of(values)
    issues: list[Issue] = []
    if rendering.stored.padding is not None and counted.mask(rendering.stored.padding):
        issues.append("padding masked")
    if len(counted.values) and (
        counted.values[0] < rendering.stored.lowest or counted.values[-1] > rendering.stored.highest
    ):
        issues.append("values exceed bits stored")
    fractions, found = _fractions(counted, rendering)
    issues += found
    if isinstance(fractions, str):
        return _as_they_are(values, rendering), tuple(issues)

    def grey(stored: NDArray[Any]) -> NDArray[np.uint16]:
        part = fractions(_modality(stored, rendering.modality))
        part = 1.0 - part if rendering.inverts else part
        # Half way between two levels, an error in the last digit must not decide: an image and its mirror are alike.
        levels = np.rint(np.round(part * FULL_SCALE, 6)).astype(np.uint16)
        if rendering.stored.padding is not None:
            low, high = rendering.stored.padding
            levels[(stored >= low) & (stored <= high)] = 0
        return levels

    return _map(values, grey), tuple(issues)


def _fractions(
    counted: _Counted, rendering: Rendering
) -> tuple[Callable[[NDArray[Any]], NDArray[np.float64]] | Literal["as they are"], list[Issue]]:
    """Choose the function from units after the modality step to fractions of white."""
    issues: list[Issue] = []
    units = _modality(counted.values, rendering.modality)
    if units.size and not np.isfinite(units).all():
        raise DicomRefused("damaged header", "the rescale gives no numbers")
    chosen = rendering.voi if rendering.window is None else rendering.window
    if isinstance(chosen, LookupTable):
        table = chosen
        if table.exceeds_bits:
            issues.append("LUT entries exceed their bits")
        return (lambda values: table.look_up(values) / table.highest), issues
    if isinstance(chosen, Window) and not chosen.is_usable:
        issues.append("unusable window")
        chosen = None
    if isinstance(chosen, Window):
        if units.size and units.min() < units.max():
            darkest, brightest = chosen.fractions(np.array([units.min(), units.max()]))
            if darkest == brightest:  # one grey where there are many values
                issues.append("window misses the values")
        return chosen.fractions, issues
    if chosen is None and rendering.stored.bits > 8:
        low, high = _percentiles(units, counted.numbers)
        if low < high:
            issues.append("no window: grey range from percentiles")
            return _spread(low, high), issues
    if chosen is None:
        issues.append("no window: grey range of all stored values")
    if isinstance(rendering.modality, Rescale) and rendering.modality.slope > 0 and rendering.stored.bits <= 8:
        inside = not units.size or (
            rendering.stored.lowest <= counted.values[0] and counted.values[-1] <= rendering.stored.highest
        )
        if inside and rendering.stored.bits == 8:
            return "as they are", issues
    return _spread(*_ends(rendering)), issues


def _ends(rendering: Rendering) -> tuple[float, float]:
    """Return the smallest and the largest value that the modality step can give."""
    if isinstance(rendering.modality, LookupTable):
        return 0.0, float(rendering.modality.highest)
    ends = _modality(np.array([rendering.stored.lowest, rendering.stored.highest]), rendering.modality)
    return float(ends.min()), float(ends.max())


def _spread(low: float, high: float) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    width = high - low if high > low else 1.0
    return lambda values: np.clip((values - low) / width, 0.0, 1.0)


def _modality(values: NDArray[Any], modality: LookupTable | Rescale) -> NDArray[np.float64]:
    if isinstance(modality, LookupTable):
        return modality.look_up(values)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values, np.float64) * modality.slope + modality.intercept


def _as_they_are(values: NDArray[Any], rendering: Rendering) -> NDArray[np.uint8]:
    """Return eight stored bits as grey levels of 255."""
    low = rendering.stored.lowest
    padding = rendering.stored.padding

    def grey(stored: NDArray[Any]) -> NDArray[np.uint8]:
        levels = np.clip(stored.astype(np.int64) - low, 0, 255).astype(np.uint8)
        levels = 255 - levels if rendering.inverts else levels
        if padding is not None:
            levels[(stored >= padding[0]) & (stored <= padding[1])] = 0
        return levels

    return _map(values, grey)


def _map(values: NDArray[Any], function: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Apply a function of single values, by a table where the values have 8 or 16 bits."""
    height, width = values.shape
    rows = max(1, _BAND_PIXELS // max(width, 1))
    table: NDArray[Any] | None = None
    if values.dtype.itemsize <= 2:
        codes = np.arange(1 << (8 * values.dtype.itemsize), dtype=f"u{values.dtype.itemsize}")
        table = function(codes.view(values.dtype))
        values = values.view(codes.dtype)
    made = np.empty(values.shape, (table if table is not None else function(values[:1, :1])).dtype)
    for start in range(0, height, rows):
        part = values[start : start + rows]
        if table is not None:
            table.take(part, out=made[start : start + rows], mode="clip")
        else:
            made[start : start + rows] = function(part)
    return made


@dataclass(eq=False)
class _Counted:
    """The values of an image in ascending order, and how often each occurs."""

    values: NDArray[Any]
    numbers: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[Any]) -> _Counted:
        """Count the values of an image."""
        if values.dtype.itemsize > 2:
            return cls(*np.unique(values, return_counts=True))
        size = 1 << (8 * values.dtype.itemsize)
        codes = values.view(f"u{values.dtype.itemsize}").ravel()
        numbers = np.zeros(size, np.int64)
        for start in range(0, codes.size, _BAND_PIXELS):
            numbers += np.bincount(codes[start : start + _BAND_PIXELS], minlength=size)
        present = np.flatnonzero(numbers)
        found = present.astype(codes.dtype).view(values.dtype)
        order = np.argsort(found, kind="stable")
        return cls(found[order], numbers[present[order]])

    def mask(self, padding: tuple[int, int]) -> bool:
        """Leave out padding; return whether there was any."""
        keep = (self.values < padding[0]) | (self.values > padding[1])
        if keep.all():
            return False
        self.values, self.numbers = self.values[keep], self.numbers[keep]
        return True


def _percentiles(units: NDArray[np.float64], numbers: NDArray[np.int64]) -> tuple[float, float]:
    """Return the values of `PERCENTILES`, or the extremes where those are equal."""
    if not units.size:
        return 0.0, 0.0
    order = np.argsort(units, kind="stable")
    units, below = units[order], np.cumsum(numbers[order])
    total = int(below[-1])
    # From each end the same count, so that the negative has the mirrored range.
    skipped = math.floor(total * PERCENTILES[0] / 100)
    low = units[np.searchsorted(below, skipped, side="right")]
    high = units[np.searchsorted(below, total - skipped, side="left")]
    return (float(low), float(high)) if low < high else (float(units[0]), float(units[-1]))
