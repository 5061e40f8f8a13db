"""Who may come in by which door: the public address or a private endpoint, a shared key or a token's roles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from azbatch_emulator.account import Account
from azbatch_emulator.records import Application, Refused

VERBS = {"GET": "read", "HEAD": "read", "DELETE": "delete"}
AREAS = {"jobs": "jobs", "jobschedules": "jobSchedules", "applications": "applications"}


class Access(Protocol):
    """What the tenant says of an account."""

    def permits(self, account: Account, object_id: str, area: str, verb: str) -> bool: ...

    def modes(self, account: Account) -> tuple[str, ...]: ...

    def is_open(self, account: Account) -> bool: ...

    def may_join(self, object_id: str, subnet_id: str) -> bool: ...

    def applications(self, account: Account) -> Sequence[Application]: ...


class Anyone:
    """Without a tenant every valid key and token may do everything."""

    def permits(self, account: Account, object_id: str, area: str, verb: str) -> bool:  # noqa: ARG002
        return True

    def modes(self, account: Account) -> tuple[str, ...]:  # noqa: ARG002
        return ("AAD", "SharedKey")

    def is_open(self, account: Account) -> bool:  # noqa: ARG002
        return True

    def may_join(self, object_id: str, subnet_id: str) -> bool:  # noqa: ARG002
        return True

    def applications(self, account: Account) -> Sequence[Application]:  # noqa: ARG002
        return ()


def check(access: Access, account: Account, subject: str | None, method: str, path: str) -> None:
    """Let an authenticated request pass (`subject` None: by shared key). Raises Refused(403).

    Source: "Authenticate Batch solutions with Microsoft Entra ID", custom roles: pools are control-plane actions, jobs
    and job schedules data actions; nodes, images and counts belong to pools.
    """
    modes = access.modes(account)
    if subject is None:
        if "SharedKey" not in modes:
            raise Refused(
                "AuthenticationFailed",
                {"AuthenticationErrorDetail": "Shared key authentication is not allowed for this account."},
            )
        return
    if "AAD" not in modes:
        raise Refused(
            "AuthenticationFailed",
            {"AuthenticationErrorDetail": "Token authentication is not allowed for this account."},
        )
    area = AREAS.get(path.strip("/").split("/")[0].lower(), "pools")
    verb = VERBS.get(method, "write")
    if not access.permits(account, subject, area, verb):
        raise Refused(
            "PermissionDenied", {"Action": f"Microsoft.Batch/batchAccounts/{area}/{verb}", "ObjectId": subject}
        )
