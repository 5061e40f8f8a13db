"""Applications as the data plane sees them, and references to their packages. Source: REST, Applications."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from azbatch_emulator.batch.call import Call, Reply, page
from azbatch_emulator.records import Application, Refused


def _encoded(application: Application) -> dict[str, Any]:
    body = {"id": application.id, "displayName": application.display_name, "versions": list(application.versions)}
    return {name: value for name, value in body.items() if value is not None}


def list_(call: Call) -> Reply:
    """Those that have an active package."""
    there = [one for one in call.applications() if one.versions]
    return page(call, there, _encoded, lambda one: one.id.lower())


def get(call: Call) -> Reply:
    wanted = call.path["applicationId"].lower()
    found = next((one for one in call.applications() if one.id.lower() == wanted), None)
    if found is None:
        raise Refused("ApplicationNotFound")
    return Reply(body=_encoded(found))


def check(applications: Callable[[], Iterable[Application]], body: Mapping[str, Any]) -> None:
    """Raises Refused for a pool or task that refers to a package that is not there; most refer to none."""
    references = body.get("applicationPackageReferences") or ()
    if not references:
        return
    known = {one.id.lower(): one for one in applications()}
    for reference in references:
        name, version = str(reference.get("applicationId") or ""), reference.get("version")
        application = known.get(name.lower())
        if application is None or application.resolve(version) is None:
            raise Refused("InvalidApplicationPackageReferences", {name: str(version or "default")})
