"""Delimited text files as records: located byte for byte, so that selected rows can be written back unchanged.

Parsing cells is left to pandas; what is done here is what pandas does not tell: which bytes make up which row,
on which line of the file it stands, and whether every row has as many fields as the header. (pandas fills
short rows with NaN without a word.)
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cxr_cli.data.files import DAMAGED_ARCHIVE, InputFile, describe_input, read_input
from cxr_cli.data.limits import largest_table
from cxr_cli.errors import LabelTableError, shown

if TYPE_CHECKING:
    import pandas as pd

_BOM = b"\xef\xbb\xbf"
#: A compressed table that unpacks to more than this, or to more than fits into memory, is refused.
MAX_UNPACKED = 4 * 1024**3
#: A longer first line is not a header: most likely the file has no line ends, or is not a table.
MAX_HEADER = 1024**2
_RARE_BLANKS = (b'"', b"\t", b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x1f")
_NOT_TEXT = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy array",
}
#: Tables of labels have some hundred columns.
MAX_COLUMNS = 10_000
_BLOCK = 1024**2
#: More empty cells than this at the end of a row are a mistake.
MAX_SURPLUS = 100
_SAVE_AS_CSV = "Give a label table: a CSV file in UTF-8, plain, .gz or .zip."
#: What may separate columns, the commonest first, and what people call it.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
#: Excel's first line that names the delimiter.
_SEP_LINE = re.compile(rb"sep=([,;|\t])\r?\n", re.IGNORECASE)
#: A cell such as ``="00013"``, by which Excel is told not to take an id for a number.
_FORMULA = re.compile(rb'(?<=[,;|\t\n])="([^"\r\n]*)"(?=[,;|\t\r\n]|$)')


@dataclass(frozen=True)
class RawTable:
    """A table's bytes with the place of every record.

    Attributes
    ----------
    path, source
        The file as given, and its size and SHA-256 as it lies on disk (compressed, if it is).
    content
        The unpacked bytes, in UTF-8.
    header
        Column names, stripped of blanks; an empty name is a trailing comma, or the index that pandas wrote.
    starts, ends
        Where record i begins and ends in `content` (shape (n_rows,), int64), line end included. Blank lines
        are no records.
    delimiter, decimal, encoding
        How the file is written: what separates columns ("," as a rule), the decimal sign, and the encoding, in which
        `select` writes too.
    n_fields
        The most fields a row has: more than the header where rows end in empty cells. 0: as many as the header.
    n_formulas
        Cells written as ``="00013"``.
    """

    path: Path
    source: InputFile
    content: bytes
    header: tuple[str, ...]
    header_end: int
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    n_fields: int = 0
    n_formulas: int = 0

    @property
    def n_rows(self) -> int:
        """Number of data rows."""
        return len(self.starts)

    def record(self, row: int) -> bytes:
        """Return the bytes of a row, line end included if it has one."""
        return self.content[self.starts[row] : self.ends[row]]

    def line(self, row: int) -> int:
        """Return the line of the file on which a row begins; the header's first line is 1."""
        return _line(self.content, int(self.starts[row]))

    @cached_property
    def _newline(self) -> bytes:
        return newline_of(self.content)

    @cached_property
    def has_stray_blanks(self) -> bool:
        """Whether any cell might begin or end with a blank or be quoted, by a cheap look at the bytes."""
        if not self.content.isascii() or any(sign in self.content for sign in _RARE_BLANKS):
            return True
        raw = np.frombuffer(self.content, dtype=np.uint8)
        blanks = np.flatnonzero(raw == ord(" "))
        edge = np.zeros(256, dtype=bool)
        edge[[*b"\r\n ", ord(self.delimiter)]] = True
        if len(raw) and (raw[0] == ord(" ") or raw[-1] == ord(" ")):
            return True
        return bool(edge[raw[blanks - 1]].any() or edge[raw[blanks + 1]].any())

    def select(self, rows: Iterable[int]) -> bytes:
        """Return a table with the header and the given rows, every line byte for byte as it was.

        Only a last line without line end gets one when it no longer stands last.
        """
        parts = [self.content[: self.header_end]]
        parts.extend(self.record(int(row)) for row in rows)
        joined = b"".join(
            part if index == len(parts) - 1 or not part or part.endswith((b"\n", b"\r")) else part + self._newline
            for index, part in enumerate(parts)
        )
        mark = next((mark for mark, name in _UTF16.items() if name == self.encoding), None)
        return joined if mark is None else mark + joined.decode("utf-8").encode(self.encoding)

    @cached_property
    def names(self) -> list[str]:
        """A name for each column, as pandas gives them: those without one are called by their place."""
        return [name or f"Unnamed: {index}" for index, name in enumerate(self.header)]

    def frame(self, dtypes: Mapping[str, Any], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Parse the cells with pandas' C parser; columns without a given type are inferred.

        Raises
        ------
        LabelTableError
            pandas cannot parse the file.
        """
        import pandas as pd

        names = self.names
        surplus = [f"Unnamed: {index}" for index in range(len(names), self.n_fields)]
        chosen = names if columns is None else list(columns)
        if not self.n_rows:
            return pd.DataFrame({name: pd.Series(dtype=dtypes.get(name, "float64")) for name in chosen})
        buffer = io.BytesIO(self.content)  # which is not copied
        buffer.seek(self.header_end)
        if self.n_formulas:
            body = _FORMULA.sub(rb'"\1"', b"\n" + self.content[self.header_end :])[1:]
            buffer = io.BytesIO(body)
        start = buffer.tell()
        options: dict[str, Any] = {
            "header": None,
            "names": names + surplus,
            "usecols": None if columns is None and not surplus else chosen,
            "dtype": dict(dtypes),
            "index_col": False,
            "encoding": "utf-8",
            "sep": self.delimiter,
            "decimal": self.decimal,
        }
        try:
            with warnings.catch_warnings():
                # In pieces it is quicker by a third. A column that is numbers in one piece and text in another comes
                # back as objects, which readers take as text.
                warnings.simplefilter("ignore", pd.errors.DtypeWarning)
                try:
                    frame: pd.DataFrame = pd.read_csv(buffer, low_memory=True, **options)
                except TypeError:  # categories of numbers in one piece, of text in another
                    buffer.seek(start)
                    frame = pd.read_csv(buffer, low_memory=False, **options)
                return frame
        except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, OverflowError) as error:
            raise LabelTableError(f"{self.path}: cannot be parsed: {error}", remedy=_SAVE_AS_CSV) from error


def read_table(path: Path) -> RawTable:
    """Read a delimited file (plain, gzip or zip), find its records and check their number of fields.

    Columns are separated by commas, semicolons, tabs or bars; the text is UTF-8, with or without a mark, or UTF-16.

    Raises
    ------
    InputError
        The file is missing or unreadable.
    LabelTableError
        It is empty, not text, in another encoding, separated in two possible ways, has duplicate columns, an unclosed
        quote, or rows with more or fewer fields than the header.
    """
    path = Path(path)
    packed = read_input(path, remedy="Check the path; a table is a CSV file.")
    # The hash of a large table takes as long as a look at its records, and needs nothing of Python meanwhile.
    with ThreadPoolExecutor(1) as executor:
        described = executor.submit(describe_input, path, packed)
        raw = parse_table(path, unpack(path, packed), InputFile(str(path), len(packed), ""))
        return replace(raw, source=described.result())


def parse_table(path: Path, content: bytes, source: InputFile) -> RawTable:
    """Find the records of a delimited text; see `read_table`."""
    content, encoding = decoded(path, content)
    check_text(path, content)
    begin = len(_BOM) if content.startswith(_BOM) else 0
    said = _SEP_LINE.match(content, begin)
    begin = said.end() if said else begin
    _check_header_length(path, content, begin)
    delimiter = said[1].decode() if said else _delimiter(path, content, begin)
    line_ends, delimiters = _separators(path, content, begin, delimiter)
    starts, ends = _records(content, line_ends, begin)
    if not len(starts):
        raise LabelTableError(f"{path}: is empty", expected="a header line and rows", remedy=_SAVE_AS_CSV)
    header = _header(path, content[starts[0] : ends[0]], delimiter)
    n_fields = _check_fields(path, content, header, starts, ends, delimiters, delimiter)
    return RawTable(
        path=path,
        source=source,
        content=content,
        header=header,
        header_end=int(ends[0]),
        starts=starts[1:],
        ends=ends[1:],
        delimiter=delimiter,
        decimal="," if delimiter != "," and re.search(rb"[;\t|]\d+,\d+[;\t|\r\n]", content) else ".",
        encoding=encoding,
        n_fields=n_fields,
        n_formulas=len(_FORMULA.findall(content)) if b'"' in content and b'="' in content else 0,
    )


def decoded(path: Path, content: bytes) -> tuple[bytes, str]:
    """Return a text in UTF-8, and the encoding in which it is written.

    Raises
    ------
    LabelTableError
        It begins as UTF-16 does and is not.
    """
    encoding = _UTF16.get(content[:2])
    if encoding is None:
        sample = content[:200]
        if len(sample) < 4 or sample[1::2].strip(b"\0") or not sample[::2].strip(b"\0"):
            return content, "utf-8"
        encoding, content = "utf-16-le", b"\xff\xfe" + content  # without a mark, as some exports are
    try:
        return content[2:].decode(encoding).encode("utf-8"), encoding
    except UnicodeError as error:
        raise LabelTableError(f"{path}: is damaged UTF-16: {error}", remedy="Save it as CSV in UTF-8.") from error


def _delimiter(path: Path, content: bytes, begin: int) -> str:
    """Return what separates the columns: what the header holds, and of several what every row has as often."""
    end = content.find(newline_of(content)[-1:], begin)
    line = content[begin : len(content) if end < 0 else end]
    candidates = [sign for sign in DELIMITERS if sign.encode() in re.sub(rb'"[^"]*"', b"", line)]
    if len(candidates) <= 1:
        return candidates[0] if candidates else ","
    fitting = [sign for sign in candidates if _fits(content[begin : begin + _BLOCK], sign)]
    if not fitting:
        return candidates[0]
    if len(fitting) > 1:
        readings = " or ".join(
            f"{DELIMITERS[sign]} ({' / '.join(shown(cell, 20) for cell in _split(line, sign)[:4])})"
            for sign in fitting[:2]
        )
        raise LabelTableError(
            f"{path}: line 1: the columns could be separated by {readings}",
            expected="one reading",
            remedy="Put quotes around the cells that hold the other sign, or save the table anew.",
        )
    return fitting[0]


def _fits(content: bytes, delimiter: str) -> bool:
    """Whether all of the first lines hold a delimiter as often as the header does, quoted cells left out."""
    lines = [line for line in re.sub(rb'"[^"]*"', b"", content).splitlines()[:1000] if line.strip()]
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut off
    return len({line.count(delimiter.encode()) for line in lines}) == 1


def _split(line: bytes, delimiter: str) -> list[str]:
    return line.decode("utf-8", "replace").strip("\r\n").split(delimiter)


def read_lines(path: Path) -> RawTable:
    """Read a text without header, one value a line, as a table of the one column ``image``.

    Raises
    ------
    InputError
        The file is missing or unreadable.
    LabelTableError
        It is not a text.
    """
    path = Path(path)
    packed = read_input(path)
    content, encoding = decoded(path, unpack(path, packed))
    check_text(path, content)
    begin = len(_BOM) if content.startswith(_BOM) else 0
    starts, ends = _records(content, np.frombuffer(content, dtype=np.uint8) == newline_of(content)[-1], begin)
    source = describe_input(path, packed)
    return RawTable(path, source, content, ("image",), begin, starts, ends, encoding=encoding)


def newline_of(content: bytes) -> bytes:
    r"""Return the line end that a text uses: the first of ``\r\n``, ``\n`` and (old Macintosh) ``\r`` in it."""
    end = content.find(b"\n")
    if end < 0:
        return b"\r" if b"\r" in content else b"\n"
    return b"\r\n" if content[end - 1 : end] == b"\r" else b"\n"


def unpack(path: Path, packed: bytes) -> bytes:
    """Unpack gzip or a zip archive with one table in it; plain bytes come back as they are.

    Raises
    ------
    LabelTableError
        The archive is damaged, holds no table or several, or unpacks to more than `MAX_UNPACKED` bytes or than fit
        into the free memory.
    """
    free = largest_table()
    most = MAX_UNPACKED if free is None else min(MAX_UNPACKED, free)
    try:
        if packed.startswith(b"\x1f\x8b"):
            with gzip.open(io.BytesIO(packed)) as stream:
                content = stream.read(most + 1)
        elif packed.startswith(b"PK\x03\x04"):
            content = _unzip(path, packed, most)
        else:
            return packed
    except DAMAGED_ARCHIVE as error:
        raise LabelTableError(
            f"{path}: damaged archive: {shown(str(error), 200)}",
            remedy="Download it again, or give the unpacked table.",
        ) from error
    if len(content) > most:
        why = "" if most == MAX_UNPACKED else ", for which too little memory is free"
        raise LabelTableError(f"{path}: unpacks to more than {most:,} bytes{why}", remedy="Check the file.")
    return content


def _unzip(path: Path, packed: bytes, most: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        names = archive.namelist()
        if "[Content_Types].xml" in names:
            raise LabelTableError(
                f"{path}: is an Excel workbook or another Office file", remedy="Save it as CSV in UTF-8."
            )
        tables = [
            name
            for name in names
            if name.lower().endswith((".csv", ".txt"))
            and not name.startswith("__MACOSX/")
            and not name.rpartition("/")[2].startswith("._")
        ]
        if len(tables) != 1:
            held = ", ".join(shown(name) for name in (tables or names)[:5]) or "nothing"
            raise LabelTableError(f"{path}: holds {held}", expected="one table", remedy="Give the table itself.")
        with archive.open(tables[0]) as stream:
            return stream.read(most + 1)


def check_text(path: Path, content: bytes) -> None:
    """Raise LabelTableError if bytes are not UTF-8 text, with a guess at their type."""
    for magic, kind in _NOT_TEXT.items():
        if content.startswith(magic):
            raise LabelTableError(f"{path}: is {kind}, not a table", remedy=_SAVE_AS_CSV)
    if content[:512].lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise LabelTableError(
            f"{path}: is a web page, not a table", remedy="Download the file itself, not the page that shows it."
        )
    if content.startswith(b"version https://git-lfs"):
        raise LabelTableError(f"{path}: is a Git LFS pointer, not the file", remedy="Run 'git lfs pull'.")
    if content[:512].removeprefix(_BOM).lstrip()[:1] in (b"{", b"["):
        raise LabelTableError(f"{path}: looks like JSON, not a table", remedy=_SAVE_AS_CSV)
    nul = content.find(b"\0")
    if nul >= 0:
        raise LabelTableError(f"{path}: is not text: byte {nul} is NUL", remedy=_SAVE_AS_CSV)
    if not content.isascii():
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise LabelTableError(
                f"{path}: line {line}: byte {content[error.start]:#04x} is not UTF-8",
                remedy="Save the table as UTF-8 (for instance: iconv -f latin1 -t utf-8).",
            ) from error


def _check_header_length(path: Path, content: bytes, begin: int) -> None:
    # Looked at before anything that takes memory in proportion to the commas.
    end = content.find(newline_of(content)[-1:], begin)
    length = (len(content) if end < 0 else end) - begin
    if length > MAX_HEADER:
        raise LabelTableError(
            f"{path}: line 1: is {length:,} bytes long", expected="the names of the columns", remedy=_SAVE_AS_CSV
        )


def _separators(path: Path, content: bytes, begin: int, delimiter: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the bytes that are line ends and delimiters, not those inside quotes; shapes (n_bytes,).

    Quotes and carriage returns are held to RFC 4180, for where they stray from it readers differ: a quote stands
    around a whole cell, a carriage return at the end of a line.
    """
    raw = np.frombuffer(content, dtype=np.uint8)
    end = newline_of(content)[-1]
    line_ends, delimiters = raw == end, raw == ord(delimiter)
    outside: NDArray[np.bool_] | None = None
    if b'"' in content:
        # Doubled quotes inside a quoted cell leave the parity as it is; uint8 wraps round at an even number.
        inside = (np.cumsum(raw == ord('"'), dtype=np.uint8) & 1).astype(bool)
        _check_quotes(path, content, raw, inside, end, begin, delimiter)
        outside = ~inside
        line_ends &= outside
        delimiters &= outside
    if end == ord("\n") and b"\r" in content:
        lone = raw[:-1] == ord("\r")
        lone &= (raw[1:] != ord("\r")) & (raw[1:] != end)
        if outside is not None:
            lone &= outside[:-1]
        if lone.any():
            raise LabelTableError(
                f"{path}: line {_line(content, int(lone.argmax()))}: a carriage return inside the line",
                expected="the same line end on every line",
                remedy=_SAVE_AS_CSV,
            )
    return line_ends, delimiters


def _check_quotes(
    path: Path,
    content: bytes,
    raw: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    end: int,
    begin: int,
    delimiter: str,
) -> None:
    quotes = raw == ord('"')
    may_precede, may_follow = np.zeros(256, dtype=bool), np.zeros(256, dtype=bool)
    may_precede[[ord(delimiter), ord('"'), end]] = True
    may_follow[[ord(delimiter), ord('"'), ord("\r"), end]] = True
    stray = np.zeros(len(raw), dtype=bool)
    stray[begin + 1 :] = (quotes & inside)[begin + 1 :] & ~may_precede[raw[begin:-1]]
    if b'="' in content:
        for formula in _FORMULA.finditer(content):
            stray[formula.start() + 1] = False
    stray[:-1] |= (quotes & ~inside)[:-1] & ~may_follow[raw[1:]]
    if stray.any():
        raise LabelTableError(
            f"{path}: line {_line(content, int(stray.argmax()))}: a stray quote, or an earlier one is not closed",
            expected="quotes only around whole cells",
            remedy="Remove the quote; inside a quoted cell it is written twice.",
        )
    if inside[-1]:
        line = _line(content, content.rindex(b'"'))
        raise LabelTableError(f"{path}: line {line}: a quote is not closed", remedy="Close or remove it.")


def _line(content: bytes, place: int) -> int:
    return content.count(newline_of(content)[-1:], 0, place) + 1


def _records(content: bytes, line_ends: NDArray[np.bool_], begin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where records start and end; like pandas, count lines that are empty or hold only blanks as none."""
    ends = np.flatnonzero(line_ends).astype(np.int64) + 1
    ends = ends[ends > begin]
    if not len(ends) or ends[-1] != len(content):
        ends = np.append(ends, len(content))
    starts = np.concatenate(([begin], ends[:-1]))
    if begin == len(content):
        return starts[:0], ends[:0]
    solid = np.ones(256, dtype=bool)
    solid[list(b" \t\r\n")] = False
    raw = np.frombuffer(content, dtype=np.uint8)
    if solid[raw[starts]].all():
        return starts, ends
    keep = np.logical_or.reduceat(solid[raw], starts)
    return starts[keep], ends[keep]


def _header(path: Path, line: bytes, delimiter: str) -> tuple[str, ...]:
    text = line.decode("utf-8").rstrip("\r\n")
    try:
        cells = next(
            csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True, delimiter=delimiter), []
        )
    except csv.Error as error:
        raise LabelTableError(f"{path}: line 1: the header cannot be read: {error}", remedy=_SAVE_AS_CSV) from error
    header = tuple(" ".join(cell.split()) for cell in cells)
    if len(header) > MAX_COLUMNS:
        raise LabelTableError(
            f"{path}: line 1: {len(header):,} columns", expected=f"at most {MAX_COLUMNS:,}", remedy=_SAVE_AS_CSV
        )
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise LabelTableError(
            f"{path}: line 1: duplicate columns: {', '.join(shown(name) for name in twice[:10])}",
            remedy="Remove or rename one of each.",
        )
    odd = next((name for name in header if not name.isprintable()), None)
    if odd is not None:
        raise LabelTableError(
            f"{path}: line 1: column '{shown(odd)}' has a character in its name that cannot be printed",
            remedy="Rename the column.",
        )
    return header


def _count_between(marks: NDArray[np.bool_], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the marks from each start up to the next."""
    # In bytes it is quickest, and right if no count went past 255.
    small = np.add.reduceat(marks.view(np.uint8), starts, dtype=np.uint8).astype(np.int64)
    if small.sum() == np.count_nonzero(marks[starts[0] :]):
        return small
    # Block by block: the places of all take too much memory.
    before = np.zeros(len(starts) + 1, dtype=np.int64)
    for begin in range(0, len(marks), _BLOCK):
        places = np.flatnonzero(marks[begin : begin + _BLOCK]) + begin
        first, last = np.searchsorted(starts, (begin, begin + _BLOCK))
        before[first:last] = before[-1] + np.searchsorted(places, starts[first:last])
        before[-1] += len(places)
    counts: NDArray[np.int64] = np.diff(before)
    return counts


def _check_fields(
    path: Path,
    content: bytes,
    header: tuple[str, ...],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    delimiters: NDArray[np.bool_],
    delimiter: str,
) -> int:
    """Check that every row has a field for each named column and nothing beyond; return the most fields of a row.

    Spreadsheets end rows, or the header, in empty cells: these are passed over.
    """
    fields = _count_between(delimiters, starts) + 1
    n_named = max((place + 1 for place, name in enumerate(header) if name), default=len(header))
    other = np.flatnonzero(fields[1:] != len(header)) + 1
    bad = [
        row
        for row in other.tolist()
        if fields[row] < n_named
        or (fields[row] > len(header) and not _empty_beyond(content, starts, ends, row, fields, header, delimiter))
    ]
    if bad:
        first = bad[0]
        more = f" ({len(bad):,} such lines)" if len(bad) > 1 else ""
        raise LabelTableError(
            f"{path}: line {_line(content, int(starts[first]))}: {fields[first]:,} fields{more}",
            expected=f"{len(header)} as in the header",
            remedy=f"Mend or remove the line; a cell with {DELIMITERS[delimiter]} in it needs quotes.",
        )
    return int(fields.max())


def _empty_beyond(
    content: bytes,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    row: int,
    fields: NDArray[np.int64],
    header: tuple[str, ...],
    delimiter: str,
) -> bool:
    surplus = int(fields[row]) - len(header)
    if surplus > MAX_SURPLUS:
        return False
    line = content[starts[row] : ends[row]].rstrip(b"\r\n")
    return line.endswith(delimiter.encode() * surplus)
