"""The pools of the data planes as resources of Azure Resource Manager: made, changed and deleted by either door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from azbatch_emulator import durations, events
from azbatch_emulator.arm.ids import ResourceId, parse
from azbatch_emulator.arm.records import ArmRefused, ProvisioningState, Resource
from azbatch_emulator.batch import applications, decode, rules
from azbatch_emulator.batch.service import BatchService
from azbatch_emulator.pool_bodies import to_arm, to_data_plane
from azbatch_emulator.records import DeallocationOption, Pool, Refused

if TYPE_CHECKING:
    from azbatch_emulator.tenant import Tenant


class Pools:
    """The pools of the data planes as ARM resources."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    def _service(self, id: ResourceId) -> BatchService | None:
        return self._tenant.services.get(id.parent.key) if id.parent else None

    def get(self, id: ResourceId) -> Resource | None:
        service = self._service(id)
        pool = service.engine.world.pools.get(id.name.lower()) if service else None
        return self._resource(service, pool) if service and pool else None

    def all(self) -> Iterable[Resource]:
        for key, service in list(self._tenant.services.items()):
            account = self._tenant.arm.store.get(key)
            for pool in service.engine.world.pools.values() if account else ():
                yield self._resource(service, pool)

    def _resource(self, service: BatchService, pool: Pool) -> Resource:
        dedicated, spot = service.engine.world.node_counts(pool.id)
        deleting = pool.state.value == "deleting"
        account = parse(self._tenant.account_id(service.account))
        return Resource(
            id=account.child("pools", pool.id),
            body=to_arm(pool, account.text, dedicated, spot),
            state=ProvisioningState.DELETING if deleting else ProvisioningState.SUCCEEDED,
            etag=f'W/"0x{int(pool.last_modified.timestamp() * 1e7):X}"',
            created=pool.created,
            changed=pool.last_modified,
        )

    def put(self, id: ResourceId, body: Mapping[str, Any]) -> Resource:
        service = self._service(id)
        if service is None:
            raise ArmRefused(404, "ParentResourceNotFound", f"The Batch account of {id.text} was not found.")
        try:
            given = rules.read("CreatePool", to_data_plane(id.name, body))
            applications.check(lambda: self._tenant.applications(service.account), given)
            present = service.engine.world.pools.get(id.name.lower())
            if present is None:
                service.engine.submit(events.AddPool(spec=decode.pool(given)))
            else:
                self._update(service, present, given)
        except Refused as refusal:
            raise ArmRefused(
                400,
                refusal.code,
                f"The pool {id.name} was refused: {refusal.message or refusal.code} {refusal.values or ''}".strip(),
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            raise ArmRefused(400, "InvalidRequestContent", f"The pool {id.name} is malformed: {error}.") from None
        found = self.get(id)
        assert found is not None
        return found

    def _update(self, service: BatchService, present: Pool, given: Mapping[str, Any]) -> None:
        """Scale settings and the properties that can change; what is the same is left alone."""
        engine = service.engine
        if given.get("enableAutoScale"):
            formula, length = given.get("autoScaleFormula"), given.get("autoScaleEvaluationInterval")
            decode.formula(formula)
            interval = durations.parse(length) if length else present.autoscale_interval
            if (formula, interval) != (present.autoscale_formula, present.autoscale_interval):
                engine.submit(events.EnableAutoScale(pool_id=present.id, formula=formula, interval=interval))
        else:
            if present.autoscale_formula is not None:
                engine.submit(events.DisableAutoScale(pool_id=present.id))
            targets = (given.get("targetDedicatedNodes"), given.get("targetLowPriorityNodes"))
            if targets != (None, None) and targets != (present.target_dedicated, present.target_spot):
                engine.submit(
                    events.ResizePool(
                        pool_id=present.id,
                        dedicated=targets[0],
                        spot=targets[1],
                        deallocation=DeallocationOption.REQUEUE,
                    )
                )
        changes = {
            name: given[name]
            for name in ("startTask", "metadata", "applicationPackageReferences")
            if name in given and given[name] != present.spec.get(name)
        }
        if changes:
            engine.submit(events.PatchPool(pool_id=present.id, changes=changes))

    def delete(self, id: ResourceId) -> None:
        service = self._service(id)
        if service is not None:
            try:
                service.engine.submit(events.DeletePool(pool_id=id.name))
            except Refused as refusal:
                if refusal.code not in {"PoolBeingDeleted", "PoolNotFound"}:
                    raise ArmRefused(409, refusal.code, refusal.message or refusal.code) from None
