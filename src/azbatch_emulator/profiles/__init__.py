"""Profiles as YAML: those with a name lie here, with the JSON schema of all; anybody may write their own file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from azbatch_emulator.errors import EmulatorError
from azbatch_emulator.injection.rules import FaultRule
from azbatch_emulator.profile import Profile

HERE = Path(__file__).parent
USUAL = "fast"
NAMES = (USUAL, "realistic", "chaos")
SCHEMA = HERE / "schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What an emulator is started under. `seed` None: other faults and names each time."""

    name: str
    service: Profile = field(default_factory=Profile)
    speed: float = 60.0
    management_speed: float | None = None  # of Resource Manager, where that differs
    seed: int | None = None
    http: tuple[FaultRule, ...] = ()


def load(name_or_file: str | Path) -> Conditions:
    """A profile by its name (`fast`, `realistic`, `chaos`) or file. Raises EmulatorError that names all its faults."""
    if str(name_or_file) == USUAL:
        return Conditions(name=USUAL)  # as its file says, without the need of a YAML reader
    try:
        import yaml
    except ImportError:
        raise EmulatorError(
            f"The profile {name_or_file} needs PyYAML to be read; install it with: pip install pyyaml"
        ) from None
    known = str(name_or_file) in NAMES
    path = HERE / f"{name_or_file}.yaml" if known else Path(name_or_file).expanduser()
    try:
        given = yaml.safe_load(path.read_text())
    except OSError as error:
        raise EmulatorError(
            f"The profile {name_or_file} cannot be read ({error.strerror}); give a file, or one of {', '.join(NAMES)}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EmulatorError(f"The profile {path} is not YAML: {error}") from None
    return read(given if given is not None else {}, str(name_or_file) if known else path.stem)


def read(given: Any, name: str) -> Conditions:
    """A profile from what its YAML says. Raises EmulatorError that names everything wrong with it."""
    if not isinstance(given, Mapping):
        raise EmulatorError(f"The profile '{name}' is not valid: it is no mapping of properties.")
    wrong = [f"'{key}' is no property (known: {', '.join(sorted(_READERS))})" for key in given if key not in _READERS]
    values: dict[str, Any] = {}
    for key in given:
        if key in _READERS:
            try:
                values |= _READERS[key](given[key])
            except (ValueError, TypeError) as error:
                wrong.append(f"{key}: {error}")
    if wrong:
        raise EmulatorError(f"The profile '{name}' is not valid: {'; '.join(wrong)}.")
    own = {field.name for field in fields(Profile)} - {"speed"}
    service = Profile(**{key: values[key] for key in values.keys() & own})
    return Conditions(name=name, service=service, **{key: values[key] for key in values.keys() - own})


def properties() -> frozenset[str]:
    """The names a profile may have."""
    return frozenset(_READERS)


def schema() -> dict[str, Any]:
    """The JSON schema of a profile's file."""
    found: dict[str, Any] = json.loads(SCHEMA.read_text())
    return found


def _number(value: Any, low: float = 0.0, high: float = float("inf"), *, above: bool = False) -> float:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not fine or (above and value == low):
        raise ValueError(f"a number {'above' if above else 'from'} {low:g}{_upto(high)}, not {value!r}")
    return float(value)


def _upto(high: float) -> str:
    return "" if high == float("inf") else f" to {high:g}"


def _delay(name: str, spread: bool) -> Callable[[Any], dict[str, Any]]:
    def read_delay(value: Any) -> dict[str, Any]:
        if not isinstance(value, list):
            return {name: timedelta(seconds=_number(value, above=name == "sample_period"))}
        if not spread or len(value) != 2:
            raise ValueError(f"seconds{', or a list of the least and the most' if spread else ''}, not {value!r}")
        low, high = _number(value[0]), _number(value[1])
        if high < low:
            raise ValueError(f"the least is above the most: {value!r}")
        return {name: timedelta(seconds=low), f"{name}_spread": timedelta(seconds=high - low)}

    return read_delay


def _rules(value: Any) -> dict[str, Any]:
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise ValueError("a list of rules")
    return {"http": tuple(FaultRule.read({"times": None, **one}) for one in value)}


def _seed(value: Any) -> dict[str, Any]:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"a whole number from 0 on, or null, not {value!r}")
    return {"seed": value}


def _text(value: Any) -> dict[str, Any]:
    if not isinstance(value, str):
        raise ValueError(f"a text, not {value!r}")
    return {}


def _readers() -> Iterator[tuple[str, Callable[[Any], dict[str, Any]]]]:
    names = {field.name for field in fields(Profile)}
    for name in names:
        if isinstance(getattr(Profile(), name), timedelta) and not name.endswith("_spread"):
            yield f"{name}_seconds", _delay(name, f"{name}_spread" in names)
    for name in ("allocation_failure", "boot_failure", "image_pull_failure", "sample_loss"):
        yield name, lambda value, name=name: {name: _number(value, 0, 1)}  # type: ignore[misc]
    yield "preemptions_per_hour", lambda value: {"preemptions_per_hour": _number(value)}
    yield "speed", lambda value: {"speed": _number(value, above=True)}
    yield "seed", _seed
    yield "http", _rules
    yield "description", _text


_READERS: Mapping[str, Callable[[Any], dict[str, Any]]] = dict(_readers())
