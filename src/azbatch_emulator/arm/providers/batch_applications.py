"""Microsoft.Batch: applications of an account and their packages. Source: REST, Application; Application Package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azbatch_emulator.arm.kinds import Body, Delete, Draft, Edit, Kind, Put, Resources
from azbatch_emulator.arm.records import ArmRefused

APPLICATION = "Microsoft.Batch/batchAccounts/applications"
VERSION = f"{APPLICATION}/versions"
_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_VERSION = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")


def _application(edit: Edit) -> Draft:
    if not _ID.match(edit.id.name):
        raise ArmRefused(
            400, "InvalidApplicationId", f"The application id '{edit.id.name[:80]}' is invalid: 1 to 64 letters, "
            "digits, hyphens and underscores."
        )  # fmt: skip
    given = dict(edit.body.get("properties") or {})
    default = given.get("defaultVersion")
    if default and edit.resources.get(f"{edit.id.text}/versions/{default}") is None:
        raise ArmRefused(
            404, "ApplicationPackageNotFound", f"The default version {default} of {edit.id.name} does not exist."
        )
    before: Mapping[str, Any] = edit.before.properties if edit.before else {}
    return Draft(body={**edit.body, "properties": {"allowUpdates": True, **before, **given}})


def _application_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    versions = [one.id.name for one in edit.resources.of_type(VERSION, edit.id.text)]
    if versions:
        raise ArmRefused(
            409, "ApplicationHasPackages", f"The application {edit.id.name} has packages ({', '.join(versions)}); "
            "delete them first."
        )  # fmt: skip
    return ()


def _version(edit: Edit) -> Draft:
    application = edit.resources.get(edit.id.parent.text) if edit.id.parent else None
    account = edit.resources.get(application.id.parent.text) if application and application.id.parent else None
    if application is None or account is None:
        raise ArmRefused(404, "ApplicationNotFound", f"The application of {edit.id.text} was not found.")
    if not _VERSION.match(edit.id.name):
        raise ArmRefused(
            400, "InvalidApplicationVersion", f"The version '{edit.id.name[:80]}' is invalid: 1 to 64 letters, digits, "
            "dots, hyphens and underscores."
        )  # fmt: skip
    if not (account.properties.get("autoStorage") or {}).get("storageAccountId"):
        raise ArmRefused(
            409, "AutoStorageNotConfigured", f"The Batch account {account.id.name} has no auto-storage account, which "
            "application packages need."
        )  # fmt: skip
    if edit.before is not None and not application.properties.get("allowUpdates", True):
        raise ArmRefused(
            409, "ApplicationPackageUpdateNotAllowed", f"Packages of {application.id.name} may not be replaced: "
            "allowUpdates is false."
        )  # fmt: skip
    return Draft(body={**edit.body, "properties": {"state": "Pending"}})


def _activate(edit: Edit) -> Body:
    if str(edit.body.get("format") or "").lower() != "zip":
        raise ArmRefused(400, "InvalidRequestBody", "The format of an application package is zip.")
    assert edit.before is not None
    activated = {"state": "Active", "format": "zip", "lastActivationTime": edit.now.isoformat()}
    return {**edit.before.body, "properties": {**edit.before.properties, **activated}}


def _version_gone(edit: Edit) -> tuple[Put | Delete, ...]:
    application = edit.resources.get(edit.id.parent.text) if edit.id.parent else None
    default = str(application.properties.get("defaultVersion") or "") if application else ""
    if default.lower() == edit.id.name.lower():
        raise ArmRefused(
            409, "ApplicationPackageIsDefault", f"{edit.id.name} is the default version; set another one first."
        )
    return ()


def active_versions(resources: Resources, application_id: str) -> list[str]:
    """The active versions of an application, as the data plane lists them."""
    return [
        one.id.name for one in resources.of_type(VERSION, application_id) if one.properties.get("state") == "Active"
    ]


KINDS = (
    Kind(type=APPLICATION, put=_application, delete=_application_gone, body_optional=True, created=200),
    Kind(
        type=VERSION,
        put=_version,
        delete=_version_gone,
        changes={"activate": _activate},
        body_optional=True,
        created=200,
    ),
)
