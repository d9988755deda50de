import dataclasses
import json
from typing import Literal

import jsonschema
import pytest

from cxr_cli.cli.app import app
from cxr_cli.services import json_schema
from cxr_cli.services.result import Result
from tests.conftest import ROOT

COMMANDS = [command.name for command in app.registered_commands]
SHIPPED = ROOT / "cxr_cli" / "json_schemas"
REMEDY = "run: python docs/make_docs.py"


@dataclasses.dataclass(frozen=True)
class Part:
    """A part.

    Attributes
    ----------
    name
        What it is called,
        over two lines.
    share
        Between 0 and 1.
    """

    name: str
    share: float


@dataclasses.dataclass(frozen=True)
class Whole(Result):
    """A whole."""

    parts: tuple[Part, ...]
    counts: dict[str, int]
    kind: Literal["a", "b"]
    size: tuple[int, int] | None
    hidden: object = dataclasses.field(default=None, metadata={"json": False})


def test_schema_of_a_dataclass_accepts_its_own_json(monkeypatch):
    monkeypatch.setitem(json_schema.RESULTS, "whole", f"{__name__}.Whole")
    schema = json_schema.document_schema("whole")
    jsonschema.Draft202012Validator.check_schema(schema)
    part = schema["$defs"]["Part"]["properties"]
    assert part["name"] == {"type": "string", "description": "What it is called, over two lines."}
    assert "hidden" not in schema["$defs"]["Whole"]["properties"]
    document = {
        "schema_version": 1,
        "command": "whole",
        "cxr_version": "1",
        "inputs": [],
        "outputs": [],
        "result": Whole((Part("x", float("nan")),), {"n": 1}, "a", (1, 2)).to_dict(),
    }
    jsonschema.validate(document, schema)
    document["result"]["kind"] = "c"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_two_classes_of_one_name_are_refused(monkeypatch):
    other = dataclasses.make_dataclass("Part", [("x", int)], frozen=True)
    result = dataclasses.make_dataclass("Both", [("one", Part), ("other", other)], bases=(Result,), frozen=True)
    monkeypatch.setattr(json_schema, "result_type", lambda command: result)
    with pytest.raises(TypeError, match="Part"):
        json_schema.document_schema("both")


@pytest.mark.parametrize("command", COMMANDS)
def test_shipped_schema_is_up_to_date_and_fits_the_golden(command):
    schema = json.loads((SHIPPED / f"{command}.json").read_text(encoding="utf-8"))
    assert schema == json_schema.document_schema(command), REMEDY
    jsonschema.Draft202012Validator.check_schema(schema)
    golden = json.loads((ROOT / "tests" / "golden" / f"{command}.json").read_text(encoding="utf-8"))
    # What goldens leave out, for it differs from machine to machine.
    golden["cxr_version"] = "0"
    if command == "build-model":
        golden["result"]["versions"] = {}
        golden["result"]["labels"]["path"] = "train-small.csv"
    jsonschema.validate(golden, schema)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_field_is_explained(command):
    for name, definition in json_schema.document_schema(command)["$defs"].items():
        missing = [field for field, schema in definition["properties"].items() if "description" not in schema]
        assert not missing, f"{name}: fields without description: {missing}"
        # Pages and schemas are read as they are: marks of the docstrings' own language mean nothing there.
        marked = [field for field, schema in definition["properties"].items() if ":`" in schema["description"]]
        assert not marked, f"{name}: fields with marks of reStructuredText: {marked}"
