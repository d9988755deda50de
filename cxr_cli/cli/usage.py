"""Mistakes on the command line, in the words of all other errors: one line and a remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

from cxr_cli.errors import UsageError, shown

#: Options that had another name before the first release: by command, what to type now.
RENAMED: dict[str, dict[str, str]] = {
    "check-leakage": {"--look-distance": "--review-distance", "--look-correlation": "--review-correlation"},
    "preprocess": {
        "--fit-stats": "--statistics fit",
        "--stats": "--statistics FILE",
    },
    "weights": {"--format": "--print-code"},
    "build-model": {"--preprocess-manifest": "--store", "--weights": "--pretrained"},
}
#: Options that are gone, and what to do instead.
REMOVED: dict[str, dict[str, str]] = {
    "preprocess": {"--augment": "'cxr train' augments the images it trains on."},
}
#: How Pydantic, which Typer checks values with, says what it expected.
_EXPECTED = (
    (r"valid integer", "a whole number"),
    (r"valid number", "a number"),
    (r"greater than or equal to (\S+)", r"at least \1"),
    (r"less than or equal to (\S+)", r"at most \1"),
)
#: Further messages of Typer, and what cxr says.
_MESSAGES = (
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", r"unexpected argument: \1"),
    (r"Option '(.*)' requires an argument", r"\1 needs a value"),
    (r"Option '(.*)' requires (\d+) arguments", r"\1 needs \2 values"),
    (r"Option '(.*)' does not take a value", r"\1 takes no value"),
)


def is_help(error: typer.TyperException) -> bool:
    """Return whether an exception of Typer holds the help text instead of a message."""
    return type(error).__name__ == "NoArgsIsHelpError"


def usage_error(error: typer.TyperException, given: Sequence[str]) -> UsageError:
    """Say what is wrong with a command line.

    Parameters
    ----------
    error
        What Typer raised.
    given
        The command line, without the name of the program.
    """
    command = _command(error, given)
    see = f"See 'cxr {command} --help'." if command else "See 'cxr --help'."
    name = getattr(error, "option_name", None)
    if isinstance(name, str) and hasattr(error, "possibilities"):
        return _unknown_option(command, name, error.possibilities or (), see)
    if isinstance(error, typer.BadParameter):
        return _bad_value(error, given, see)
    return _other(error.format_message(), see)


def _command(error: typer.TyperException, given: Sequence[str]) -> str:
    context = getattr(error, "ctx", None)
    if context is not None:
        return str(context.info_name) if context.parent is not None else ""
    # Options without their value are noticed before there is a context.
    return next((part for part in given if part in RENAMED or not part.startswith("-")), "")


def _unknown_option(command: str, name: str, similar: Sequence[str], see: str) -> UsageError:
    now = RENAMED.get(command, {}).get(name)
    if now is not None:
        return UsageError(f"{name} of 'cxr {command}' is now called {now}")
    gone = REMOVED.get(command, {}).get(name)
    if gone is not None:
        return UsageError(f"'cxr {command}' no longer has the option {name}", remedy=gone)
    remedy = f"Did you mean {' or '.join(sorted(similar))}? {see}" if similar else see
    return UsageError(f"{'cxr ' + command if command else 'cxr'} has no option {name}", remedy=remedy)


def _bad_value(error: typer.BadParameter, given: Sequence[str], see: str) -> UsageError:
    parameter: Any = error.param
    if parameter is None:
        return _other(error.format_message(), see)
    names = [*parameter.opts, *parameter.secondary_opts]
    name = names[0] if names[0].startswith("-") else str(parameter.metavar or parameter.name)
    if not error.message:  # MissingParameter
        return UsageError(f"{name} is missing", remedy=see)
    value = _value_of(names, given)
    what = name if value is None else f"{name} {shown(value)}"
    message = error.message.removeprefix("Value error, ")  # Pydantic's, which Typer checks values with
    choices = re.match(r"'.*' is not one of (.*)", message, re.DOTALL)
    if choices is not None:
        *others, last = re.findall(r"'([^']+)'", choices[1])
        return UsageError(what, expected=f"{', '.join(others)} or {last}", remedy=see)
    for pattern, words in _EXPECTED:
        found = re.search(pattern, message)
        if found is not None:
            return UsageError(what, expected=found.expand(words), remedy=see)
    return UsageError(f"{what}: {message.rstrip('.')}", remedy=see)


def _value_of(names: Sequence[str], given: Sequence[str]) -> str | None:
    """Return what was given for an option, if it can be seen."""
    for place, part in enumerate(given):
        name, equals, value = part.partition("=")
        if name in names:
            return value if equals else next(iter(given[place + 1 :]), None)
    return None


def _other(message: str, see: str) -> UsageError:
    unknown = re.match(r"No such command '(.*?)'\.(?: Did you mean (.*)\?)?", message)
    if unknown is not None:
        names = re.findall(r"'([^']+)'", unknown[2] or "")
        similar = f"Did you mean {' or '.join(names)}? " if names else ""
        return UsageError(f"cxr has no command {shown(unknown[1])}", remedy=f"{similar}{see}")
    for pattern, words in _MESSAGES:
        found = re.match(pattern, message)
        if found is not None:
            return UsageError(shown(found.expand(words), 200), remedy=see)
    return UsageError(message.rstrip("."), remedy=see)
