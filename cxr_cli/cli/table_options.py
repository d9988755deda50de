"""The options with which every command reads a label table, as one parameter."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any, get_type_hints

from cxr_cli.cli.options import (
    ColumnsOption,
    JoinOption,
    MapOption,
    PatientPatternOption,
    ReadersOption,
    SchemaOption,
    UncertainOption,
)


@dataclass(frozen=True)
class TableOptions:
    """How a label table is to be read.

    Attributes
    ----------
    schema, uncertain, columns, join, readers, patient_pattern, map_pathologies
        As in `cxr_cli.data.labels.read_labels`, in the words of the command line.
    """

    schema: SchemaOption = None
    uncertain: UncertainOption = "ignore"
    columns: ColumnsOption = None
    join: JoinOption = None
    readers: ReadersOption = "any"
    patient_pattern: PatientPatternOption = None
    map_pathologies: MapOption = None

    def given(self) -> dict[str, Any]:
        """Return the options that were given another value than their default."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(RECOGNISED, name)}


#: Nothing given: everything is recognised.
RECOGNISED = TableOptions()


def with_table_options(command: Callable[..., None]) -> Callable[..., None]:
    """Show Typer the fields of a command's parameter of type `TableOptions` as options of the command.

    The other parameters stay as they are; the options stand where the parameter stands.
    """
    hints = get_type_hints(command, include_extras=True)
    options = get_type_hints(TableOptions, include_extras=True)
    (how,) = (name for name, hint in hints.items() if hint is TableOptions)
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        shown = [(name, hints[name], parameter.default)]
        if name == how:
            shown = [(field.name, options[field.name], field.default) for field in fields(TableOptions)]
        parameters += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for name, hint, default in shown
        ]

    @wraps(command)
    def one_by_one(**given: Any) -> None:
        read_as = TableOptions(**{name: given.pop(name) for name in options})
        command(**given, **{how: read_as})

    one_by_one.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    one_by_one.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return one_by_one
