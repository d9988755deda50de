"""User errors, in one or two lines: what happened, what was expected, what to do next."""

from __future__ import annotations

import errno
import re

# Marks around an argument in a message. Control characters, so that no text from a file is taken for one.
_ARGUMENT = re.compile("\x02([^\x1f\x03]*)\x1f([^\x03]*)\x03")
_NO_VALUE = object()


def argument(name: str, value: object = _NO_VALUE, *, option: str | None = None) -> str:
    """Name an argument in a message: ``epsilon=-1`` for a Python user, ``--epsilon -1`` in the terminal.

    Parameters
    ----------
    name
        The argument's name in Python.
    value
        What was given; leave it out to name the argument alone.
    option
        How the terminal says it, value included. Default: the name with dashes, and the value.

    Examples
    --------
    >>> error = UsageError(f"{argument('max_ratio', 0.5)} is too small")
    >>> str(error), error.in_terminal()
    ('max_ratio=0.5 is too small', '--max-ratio 0.5 is too small')
    """
    python = name if value is _NO_VALUE else f"{name}={value!r}"
    if option is None:
        option = f"--{name.replace('_', '-')}"
        if value is not _NO_VALUE and value is not True:
            option += f" {value:g}" if isinstance(value, float) else f" {value}"
    return f"\x02{_unmarked(python)}\x1f{_unmarked(option)}\x03"


def _unmarked(text: str) -> str:
    return re.sub("[\x02\x03\x1f]", "�", text)


class CxrError(Exception):
    """Base of every error that the command line shows without a traceback (exit code 2).

    Parameters
    ----------
    what
        What happened, naming the file, row or column. No full stop at the end. `argument` names arguments.
    expected
        What was expected instead, if that is not plain from `what`.
    remedy
        What the user can do next.
    """

    def __init__(self, what: str, *, expected: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, expected, remedy)
        self.what = _in_words(what, 1)
        self.expected = None if expected is None else _in_words(expected, 1)
        self.remedy = None if remedy is None else _in_words(remedy, 1)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments need help to come back whole from a worker process.
        return _rebuild, (type(self), *self.args)

    def __str__(self) -> str:
        return _message(self.what, self.expected, self.remedy)

    def in_terminal(self) -> str:
        """Return the message with arguments named as the options of the command line."""
        what, expected, remedy = (None if part is None else _in_words(part, 2) for part in self.args)
        return _message(str(what), expected, remedy)


def _message(what: str, expected: str | None, remedy: str | None) -> str:
    first = what if expected is None else f"{what}; expected {expected}"
    return first if remedy is None else f"{first}\n{remedy}"


def _in_words(text: str, group: int) -> str:
    """Replace marked arguments by their names in Python (1) or in the terminal (2)."""
    return _ARGUMENT.sub(lambda found: found[group], text)


class Message(str):
    """Text for a result that names arguments as in Python; `in_terminal` names them as options.

    Parameters
    ----------
    text
        With arguments named by `argument`, or with another message's `marked` in it.

    Examples
    --------
    >>> found = Message(f"columns could be read: {argument('columns', 'labels=Mass')}")
    >>> found, in_terminal(found)
    ("columns could be read: columns='labels=Mass'", 'columns could be read: --columns labels=Mass')
    """

    marked: str

    def __new__(cls, text: str) -> Message:
        """Keep both wordings."""
        made = super().__new__(cls, _in_words(text, 1))
        made.marked = text
        return made


def marked(text: str) -> str:
    """Return what to put into a longer `Message`, so that both wordings stay."""
    return text.marked if isinstance(text, Message) else text


def in_terminal(text: str) -> str:
    """Return a text as the terminal says it: a `Message` with options for arguments, any other as it is."""
    return _in_words(text.marked, 2) if isinstance(text, Message) else text


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


#: What the loader says when a library does not fit into memory (glibc, musl, macOS).
_LOADER_OUT_OF_MEMORY = ("failed to map segment", "cannot allocate memory", "out of memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, which importing a library reports in its own words."""
    if isinstance(error, ImportError):
        return any(sign in str(error).lower() for sign in _LOADER_OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
