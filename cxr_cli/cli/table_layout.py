"""A table that fits its terminal: too wide, it comes in parts one below the other, with no number broken in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

#: A longer word of a text column, such as a path, may be broken.
_LONGEST_WORD = 20
#: A column of names never gets narrower than this.
_SHORTEST = 6
#: Characters that the frame adds to each column, and once to a table.
_PER_COLUMN, _PER_TABLE = 3, 1


@dataclass(frozen=True)
class FittingTable:
    """A table whose first `text_columns` columns are text that may wrap; the others stay on one line.

    Attributes
    ----------
    title, caption
        Lines above and below, not bound to the width of the table.
    columns
        The headers.
    rows
        The cells, as many in each row as there are headers.
    text_columns
        How many columns are text, aligned left. They stand again in every part.
    """

    title: str | None
    caption: str | None
    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    text_columns: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield title, parts and caption."""
        parts = self._parts(options.max_width)
        for number, widths in enumerate(parts):
            if number:
                yield Text()
            if self.title is not None:
                yield Text(self.title + (" (continued)" if number else ""), style="bold")
            yield self._part(widths)
        if self.caption is not None:
            yield Text(self.caption, style="dim italic")

    def _parts(self, available: int) -> list[dict[int, int]]:
        """Divide the columns among tables that fit; each maps the place of a column to its width."""
        natural = [self._natural(place) for place in range(len(self.columns))]
        if _total(natural) <= available:
            return [dict(enumerate(natural))]
        least = [min(self._least(place), available // 2) for place in range(len(self.columns))]
        keys = list(range(self.text_columns))
        if _total([least[place] for place in keys]) > available // 2:
            keys = keys[:1]
        # Rather a broken name than a broken number.
        widest = max((least[place] for place in range(len(keys), len(least))), default=0)
        room = available - _total([*(least[place] for place in keys[1:]), widest, 0])
        least[0] = max(min(least[0], room), _SHORTEST)
        parts = [list(keys)]
        for place in range(len(keys), len(self.columns)):
            if _total([least[other] for other in (*parts[-1], place)]) > available and len(parts[-1]) > len(keys):
                parts.append(list(keys))
            parts[-1].append(place)
        return [_widened(places, least, natural, available) for places in parts]

    def _natural(self, place: int) -> int:
        return max(Text(self.columns[place]).cell_len, *(row[place].cell_len for row in self.rows), 0)

    def _least(self, place: int) -> int:
        """Return the width at which headers wrap between words, and only text does below them."""
        header = _longest_word(Text(self.columns[place]))
        if place >= self.text_columns:
            return max(header, *(row[place].cell_len for row in self.rows), 0)
        words = max((_longest_word(row[place]) for row in self.rows), default=0)
        return max(header, min(words, _LONGEST_WORD))

    def _part(self, widths: dict[int, int]) -> Table:
        made = Table(header_style="bold")
        for place, width in widths.items():
            made.add_column(
                Text(self.columns[place]),
                justify="left" if place < self.text_columns else "right",
                overflow="fold",
                width=width,
            )
        for row in self.rows:
            made.add_row(*(row[place] for place in widths))
        return made


def _longest_word(text: Text) -> int:
    return max((Text(word).cell_len for word in text.plain.split()), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _PER_COLUMN * len(widths) + _PER_TABLE


def _widened(places: Sequence[int], least: Sequence[int], natural: Sequence[int], available: int) -> dict[int, int]:
    """Give what room is left to the columns that could use it, the first ones first."""
    widths = {place: least[place] for place in places}
    room = max(0, available - _total(list(widths.values())))
    for place in places:
        more = min(room, natural[place] - widths[place])
        widths[place] += more
        room -= more
    return widths
