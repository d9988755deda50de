"""What a user can mend, said in one or two lines: what happened, what was expected, what to do."""

from __future__ import annotations


class CxrError(Exception):
    """Base of every error that the command line shows without a traceback (exit code 2).

    Parameters
    ----------
    what
        What happened, naming the file, row or column. No full stop at the end.
    expected
        What was expected instead, if that is not plain from `what`.
    remedy
        What the user can do next.
    """

    def __init__(self, what: str, *, expected: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, expected, remedy)
        self.what = what
        self.expected = expected
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments need help to come back whole from a worker process.
        return _rebuild, (type(self), self.what, self.expected, self.remedy)

    def __str__(self) -> str:
        first = self.what if self.expected is None else f"{self.what}; expected {self.expected}"
        return first if self.remedy is None else f"{first}\n{self.remedy}"


def shown(text: str, longest: int = 60) -> str:
    r"""Make text from a file fit for a message: short, on one line, without characters that steer a terminal.

    Examples
    --------
    >>> shown("a\x1b[31m\nb"), shown("abcdef", 4)
    ('a\\x1b[31m\\nb', 'abc…')
    """
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cut)


def _rebuild(kind: type[CxrError], what: str, expected: str | None, remedy: str | None) -> CxrError:
    return kind(what, expected=expected, remedy=remedy)


class UsageError(CxrError, ValueError):
    """Options or arguments that contradict each other or lie outside their range."""


class InputError(CxrError):
    """An input that is missing, unreadable, or not what it should be."""


class LabelTableError(InputError):
    """A label table that cannot be understood: header, delimiter, cells, encoding."""


class ImageError(InputError):
    """An image or image folder that cannot be found, trusted or decoded."""


class WeightsFileError(InputError):
    """A file of pre-trained weights that does not hold what the model needs."""


class OutputError(CxrError):
    """An output that cannot or must not be written."""


class MachineError(CxrError):
    """The machine failed, not the input: memory ran out, the disk or network did, processes cannot be started.

    Never a verdict on the input that was at work: the same may succeed the next time.
    """


class MissingPackageError(CxrError):
    """An optional package that the chosen option needs and that is not installed."""
