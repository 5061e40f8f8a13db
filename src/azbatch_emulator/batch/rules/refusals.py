"""How the service says what is wrong with a body: its codes, with PropertyName, PropertyValue and Reason. Pure.

A path such as `startTask.resourceFiles[0].filePath` names the place; PropertyName is its last name, as in recorded
answers [recorded: `subnetId`], and where the property is nested the reason says the whole path.
"""

from __future__ import annotations

from typing import Any

from azbatch_emulator.records import Refused

SHOWN = 200  # characters of a value that an answer repeats


def _leaf(path: str) -> str:
    return path.rpartition(".")[2].partition("[")[0]


def _placed(reason: str, path: str) -> str:
    return f"{reason} (at {path})" if "." in path or "[" in path else reason


def unreadable(path: str, reason: str) -> Refused:
    """JSON of another type than the property's: the service's parser refuses the whole body [recorded]."""
    return Refused("InvalidRequestBody", {"Reason": _placed(reason, path) if path else reason})


def unknown(path: str, type_name: str) -> Refused:
    """A property that the type does not have [recorded]."""
    reason = (
        f"The property '{_leaf(path)}' does not exist on type 'Microsoft.Azure.Batch.Protocol.Entities.{type_name}'. "
        "Make sure to only use property names that are defined by the type."
    )
    return Refused("InvalidRequestBody", {"Reason": reason})


def invalid(path: str, value: Any, reason: str) -> Refused:
    """A value that the property cannot have."""
    shown = "" if value is None else str(value)[:SHOWN]
    return Refused(
        "InvalidPropertyValue",
        {"PropertyName": _leaf(path), "PropertyValue": shown, "Reason": _placed(reason, path)},
    )


def out_of_range(path: str, value: Any, low: int, high: int) -> Refused:
    """A number outside its bounds."""
    return Refused(
        "OutOfRangeInput",
        {
            "PropertyName": _leaf(path),
            "PropertyValue": str(value)[:SHOWN],
            "MinimumValue": str(low),
            "MaximumValue": str(high),
            "Reason": _placed(f"The value is between {low} and {high}", path),
        },
    )


def missing(path: str) -> Refused:
    """A property that must be there."""
    values = {"PropertyName": _leaf(path)}
    if "." in path or "[" in path:
        values["Reason"] = f"{path} is required"
    return Refused("MissingRequiredProperty", values)
