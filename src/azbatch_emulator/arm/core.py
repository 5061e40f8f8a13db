"""The emulated Azure Resource Manager: one request in, one answer out. No I/O, no clock.

Order of checks, as ARM has it: address, api-version, subscription, rights, locks, policies, the provider's rules, other
operations in progress.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from azbatch_emulator.arm import listing, policy, rbac
from azbatch_emulator.arm.ids import GROUP_TYPE, ResourceId, parse
from azbatch_emulator.arm.kinds import Body, Delete, Edit, Function, Kind, Provider, Put
from azbatch_emulator.arm.records import (
    Answer,
    ArmRefused,
    Principal,
    PrincipalKind,
    ProvisioningState,
    Request,
    Resource,
    Style,
)
from azbatch_emulator.arm.roles import Permissions
from azbatch_emulator.arm.store import Changed, Store

LOCK = "Microsoft.Authorization/locks"
BUSY = frozenset({ProvisioningState.CREATING, ProvisioningState.UPDATING, ProvisioningState.DELETING})
RETRY_AFTER = timedelta(seconds=10)
PAGE = 1000
PROPAGATION = timedelta(minutes=2)  # of role assignments; on Azure up to ten
_VERSION = re.compile(r"^\d{4}-\d\d-\d\d(-preview|-privatepreview)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A change under way: done when `due` has come."""

    id: str
    resource: ResourceId
    removes: bool
    due: datetime
    also: tuple[Put | Delete, ...]
    done: bool = False


class Arm:
    """The tenant's resources and operations. `speed` divides all delays; `new_id` makes GUIDs."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        new_id: Callable[[], str],
        speed: float = 1.0,
        propagation: timedelta = PROPAGATION,
    ) -> None:
        self.store = Store()
        self.operations: dict[str, Operation] = {}
        self.revoked: list[rbac.Grant] = []
        self._kinds = {kind.type.lower(): kind for provider in providers for kind in provider.kinds}
        self._namespaces = {provider.namespace.lower(): provider.namespace for provider in providers}
        self._functions = [(_compiled(one), one) for provider in providers for one in provider.functions]
        self._new_id = new_id
        self._speed = speed
        self.propagation = propagation / speed
        # Properties that are never stored: addresses with signatures.
        self.unstored: Callable[[Resource], Mapping[str, Any]] = lambda _resource: {}

    # Requests

    def handle(self, request: Request, now: datetime) -> Answer:
        """Answer one request. Raises ArmRefused, with nothing changed."""
        self.settle(now)
        version = request.query.get("api-version")
        if version is None:
            raise ArmRefused(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        if not _VERSION.match(version):
            raise ArmRefused(400, "InvalidApiVersionParameter", f"The api-version '{version[:40]}' is invalid.")
        operation = self._operation(request.path)
        if operation is not None:
            return self._poll(request, *operation)
        for pattern, function in self._functions:
            found = pattern.fullmatch(request.path) if function.method == request.method else None
            if found is not None:
                self._check_subscription(request.path)
                self._authorize(request.caller, function.permission, _scope_of(request.path), now)
                return function.answer(request, found.groupdict(), self.store, now)
        return self._on_resource(request, now)

    def _on_resource(self, request: Request, now: datetime) -> Answer:
        parts = request.path.strip("/").split("/")
        last_word = parts[-1].lower()
        lower = [part.lower() for part in parts]
        at = len(lower) - 1 - lower[::-1].index("providers") if "providers" in lower else -1
        odd = at >= 0 and (len(parts) - at) % 2 == 1  # providers/NS/type[/name/type] without a last name
        if not odd and not (at < 0 and len(parts) in {1, 3}):
            id = self._canonical(parse(request.path))
            self._check_subscription(request.path)
            return self._one(request, id, self._kind(id), now)
        above = "/" + "/".join(parts[:-1])
        if lower[at + 1 :] == ["microsoft.authorization", "permissions"] and request.method == "GET":
            scope = "/" + "/".join(parts[:at])
            self._check_subscription(scope)
            shown = [listing.permission_body(one) for one in self.permissions(request.caller, scope, now)]
            return Answer(status=200, body={"value": shown})
        if odd and len(parts) - at > 3:
            owner = self._canonical(parse(above))
            kind = self._kind(owner)
            name = last_word if request.method == "POST" else f"get {last_word}"
            if name in kind.actions or name in kind.changes:
                self._check_subscription(request.path)
                return self._act(request, owner, kind, name, now)
        if request.method != "GET":
            raise ArmRefused(
                405, "MethodNotAllowed", f"The method {request.method} is not allowed on '{request.path}'."
            )
        self._check_subscription(request.path)
        return self._list(request, now)

    def _one(self, request: Request, id: ResourceId, kind: Kind, now: datetime) -> Answer:
        match request.method:
            case "GET" | "HEAD":
                self._authorize(request.caller, f"{_rbac_type(id)}/read", id.text, now)
                built_in = listing.built_in_role(id)
                if built_in is not None:
                    return Answer(status=200, body=built_in)
                found = self._existing(id)
                return Answer(status=200, body=self.render(found)) if request.method == "GET" else Answer(status=204)
            case "PUT" | "PATCH":
                self._authorize(request.caller, f"{_rbac_type(id)}/write", id.text, now)
                return self._write(request, id, kind, now)
            case "DELETE":
                self._authorize(request.caller, f"{_rbac_type(id)}/delete", id.text, now)
                return self._delete(request, id, kind, now)
        raise ArmRefused(405, "MethodNotAllowed", f"The method {request.method} is not allowed on '{id.text}'.")

    def _act(self, request: Request, id: ResourceId, kind: Kind, name: str, now: datetime) -> Answer:
        word = request.path.rstrip("/").rsplit("/", 1)[-1]
        verb = f"{word}/action" if request.method == "POST" else f"{word}/read"
        self._authorize(request.caller, f"{_rbac_type(id)}/{verb}", id.text, now)
        before = self._existing(id)
        edit = self._edit(id, before, {**(request.body or {}), "?": dict(request.query)}, request.caller, now)
        if name not in kind.changes:
            return kind.actions[name](edit)
        self._check_locks(id, removes=False)
        self._check_idle(id)
        body, delay = kind.changes[name](edit), kind.update_delay / self._speed
        state = ProvisioningState.UPDATING if delay else ProvisioningState.SUCCEEDED
        self.store.put(replace(before, body=body, state=state, changed=now))
        if not delay:
            return Answer(status=200, body=self.render(self._existing(id)))
        operation = self._begin(id, now + delay, (), removes=False)
        return Answer(status=202, headers=self._headers(request, operation, kind.style))

    # Writing

    def _write(self, request: Request, id: ResourceId, kind: Kind, now: datetime) -> Answer:
        given = {} if request.body is None and kind.body_optional else request.body
        if not isinstance(given, Mapping):
            raise ArmRefused(
                400,
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized: a JSON object is expected.",
            )
        before = self.store.get(id.text)
        if request.method == "PATCH" and before is None:
            raise self._not_found(id)
        self._check_conditions(request, before)
        self._check_parents(id)
        self._check_locks(id, removes=False)
        body = _checked(dict(given), id)
        if request.method == "PATCH" and before is not None:
            body = _merged(self._joined(before, kind), body)
        self._check_policy(id, body)
        self._check_idle(id)
        edit = self._edit(id, before, body, request.caller, now)
        for linked, action in kind.links(edit):
            self._authorize_link(request.caller, id, linked, action, now)
        draft = kind.put(edit)
        external = self.store.external.get(kind.type.lower())
        if external is not None:
            return Answer(status=200, body=self.render(external.put(id, draft.body)))
        own, children = _split(draft.body, kind)
        delay = (kind.create_delay if before is None else kind.update_delay) / self._speed
        state = ProvisioningState.CREATING if before is None else ProvisioningState.UPDATING
        stored = Resource(
            id=before.id if before else id,
            body=own,
            state=state if delay else ProvisioningState.SUCCEEDED,
            etag=f'W/"{self._new_id()}"',
            created=before.created if before else now,
            changed=now,
        )
        changes = self._children(stored, kind, children, request.caller, now)
        self.store.put(stored)
        self._touch(id)
        for change in changes:
            self._apply(change, now)
        if not delay:
            for change in draft.also:
                self._apply(change, now)
            return Answer(status=200 if before else kind.created, body=self.render(stored))
        operation = self._begin(id, now + delay, draft.also, removes=False)
        headers = self._headers(request, operation, kind.style)
        if kind.style is Style.LOCATION:
            return Answer(status=202, headers=headers)
        return Answer(status=200 if before else 201, body=self.render(stored), headers=headers)

    def _children(
        self, parent: Resource, kind: Kind, given: Mapping[str, list[Any]], caller: Principal, now: datetime
    ) -> list[Put | Delete]:
        """Embedded arrays become resources of their own; those that are not named any more go."""
        changes: list[Put | Delete] = []
        id, before = parent.id, self.store.get(parent.id.text)
        for array, items in given.items():
            inner = self._kinds[kind.children[array].lower()]
            named: set[str] = set()
            for item in items:
                name = str(item.get("name") or "")
                if not name:
                    raise ArmRefused(400, "InvalidRequestContent", f"An element of {array} has no name.")
                child = id.child(inner.type.rsplit("/", 1)[1], name)
                named.add(child.key)
                body = {key: value for key, value in item.items() if key not in {"id", "name", "type", "etag"}}
                edit = self._edit(child, self.store.get(child.text), _checked(body, child), caller, now)
                if before is not None:
                    edit = replace(edit, resources=Changed(self.store, parent))
                for linked, action in inner.links(edit):
                    self._authorize_link(caller, child, linked, action, now)
                draft = inner.put(edit)
                changes += [Put(child, draft.body), *draft.also]
            for gone in self.store.of_type(inner.type, id.text):
                if gone.id.key not in named:
                    changes += [*inner.delete(self._edit(gone.id, gone, {}, caller, now)), Delete(gone.id)]
        return changes

    def _delete(self, request: Request, id: ResourceId, kind: Kind, now: datetime) -> Answer:
        before = self.store.get(id.text)
        if before is None:
            self._check_group(id)
            return Answer(status=204)
        self._check_conditions(request, before)
        self._check_locks(id, removes=True)
        self._check_idle(id)
        also = kind.delete(self._edit(id, before, {}, request.caller, now))
        external = self.store.external.get(kind.type.lower())
        if external is not None:
            external.delete(id)
            operation = self._begin(id, datetime.max.replace(tzinfo=now.tzinfo), also, removes=True)
            return Answer(status=202, headers=self._headers(request, operation, Style.LOCATION, gone=True))
        delay = kind.delete_delay / self._speed
        if not delay:
            self._remove(before, also, now)
            return Answer(status=200, body=self.render(before) if kind.plain else None)
        self.store.put(replace(before, state=ProvisioningState.DELETING))
        operation = self._begin(id, now + delay, also, removes=True)
        return Answer(status=202, headers=self._headers(request, operation, kind.delete_style, gone=True))

    def _remove(self, resource: Resource, also: Iterable[Put | Delete], now: datetime) -> None:
        for change in also:
            self._apply(change, now)
        for inner in self.store.inside(resource.id.text):
            self._forget(inner, now)
        self._forget(resource, now)
        self._touch(resource.id)

    def _touch(self, id: ResourceId) -> None:
        """A resource shown with its children (a network with its subnets) has another eTag once one of them changed."""
        above = self.store.get(id.parent.text) if id.parent else None
        kind = self._kinds.get(above.id.type.lower()) if above else None
        if (
            above is not None
            and kind is not None
            and id.type.lower() in {one.lower() for one in kind.children.values()}
        ):
            self.store.put(replace(above, etag=f'W/"{self._new_id()}"'))

    def _forget(self, resource: Resource, now: datetime) -> None:
        if resource.id.type.lower() == rbac.ASSIGNMENT.lower():
            made = rbac.grant(resource, self.propagation)
            self.revoked = [one for one in self.revoked if one.until is not None and one.until > now]
            self.revoked.append(replace(made, until=now + self.propagation))
        self.store.drop(resource.id.key)

    def _apply(self, change: Put | Delete, now: datetime) -> None:
        """A change that comes along with another: at once, and without questions."""
        before = self.store.get(change.id.text)
        if isinstance(change, Delete):
            if before is not None:
                self._remove(before, (), now)
            return
        kind = self._kinds.get(change.id.type.lower())
        body = _split(change.body, kind)[0] if kind else change.body
        self.store.put(
            Resource(
                id=before.id if before else change.id,
                body=body,
                etag=f'W/"{self._new_id()}"',
                created=before.created if before else now,
                changed=now,
            )
        )

    def put(self, text: str, body: Body, now: datetime) -> Resource:
        """Store a resource as it is, unasked: the emulator's own set-up."""
        id = parse(text)
        self._apply(Put(id, body), now)
        found = self.store.get(text)
        assert found is not None
        return found

    def make(self, text: str, body: Body, now: datetime) -> Resource:
        """Store a resource as its provider completes it, at once, without asking for rights: for set-up."""
        id = parse(text)
        kind = self._kind(id)
        nobody = Principal(object_id="", name="emulator", kind=PrincipalKind.SERVICE_PRINCIPAL)
        draft = kind.put(self._edit(id, self.store.get(text), body, nobody, now))
        own, children = _split(draft.body, kind)
        self._apply(Put(id, own), now)
        for array, items in children.items():
            for item in items:
                inner = kind.children[array]
                self.make(id.child(inner.rsplit("/", 1)[1], item["name"]).text, {"properties": item["properties"]}, now)
        for change in draft.also:
            self._apply(change, now)
        found = self.store.get(text)
        assert found is not None
        return found

    # Operations

    def settle(self, now: datetime) -> None:
        """Complete what is due."""
        for operation in [one for one in self.operations.values() if not one.done]:
            found = self.store.get(operation.resource.text)
            if operation.due > now and not (operation.removes and found is None):
                continue
            self.operations[operation.id] = replace(operation, done=True)
            if found is None:
                continue
            if operation.removes:
                self._remove(found, operation.also, now)
                continue
            self.store.put(replace(found, state=ProvisioningState.SUCCEEDED))
            for change in operation.also:
                self._apply(change, now)

    def _begin(self, id: ResourceId, due: datetime, also: tuple[Put | Delete, ...], *, removes: bool) -> Operation:
        operation = Operation(id=self._new_id(), resource=id, removes=removes, due=due, also=also)
        self.operations[operation.id] = operation
        return operation

    def _headers(self, request: Request, operation: Operation, style: Style, *, gone: bool = False) -> dict[str, str]:
        id = operation.resource
        namespace = id.namespace
        base = f"{request.base}/subscriptions/{id.subscription}/providers/{namespace}/locations/here"
        version = f"?api-version={request.query['api-version']}"
        wait = max(0, round(RETRY_AFTER.total_seconds() / self._speed))
        headers = {"Retry-After": str(wait)}
        if style is not Style.LOCATION:
            headers["Azure-AsyncOperation"] = f"{base}/operations/{operation.id}{version}"
        if style is Style.LOCATION or gone:
            headers["Location"] = f"{base}/operationResults/{operation.id}{version}"
        return headers

    def _operation(self, path: str) -> tuple[str, Operation] | None:
        parts = path.rstrip("/").split("/")
        if len(parts) < 2 or parts[-2].lower() not in {"operations", "operationresults"}:
            return None
        found = self.operations.get(parts[-1])
        return None if found is None else (parts[-2].lower(), found)

    def _poll(self, request: Request, kind: str, operation: Operation) -> Answer:
        headers = {"Retry-After": str(max(0, round(RETRY_AFTER.total_seconds() / self._speed)))}
        if kind == "operations":
            status = "Succeeded" if operation.done else "InProgress"
            return Answer(status=200, body={"status": status}, headers={} if operation.done else headers)
        if not operation.done:
            return Answer(
                status=202,
                headers={
                    **headers,
                    "Location": f"{request.base}{request.path}?api-version={request.query['api-version']}",
                },
            )
        found = self.store.get(operation.resource.text)
        return Answer(status=204) if found is None or operation.removes else Answer(status=200, body=self.render(found))

    # Checks

    def _kind(self, id: ResourceId) -> Kind:
        kind = self._kinds.get(id.type.lower())
        if kind is not None:
            return kind
        if id.namespace.lower() not in self._namespaces:
            raise ArmRefused(404, "InvalidResourceNamespace", f"The resource namespace '{id.namespace}' is invalid.")
        raise ArmRefused(
            404,
            "InvalidResourceType",
            f"The resource type '{'/'.join(id.types)}' could not be found in the namespace '{id.namespace}'.",
        )

    def _canonical(self, id: ResourceId) -> ResourceId:
        """Role definitions live at their subscription, whatever scope they are asked for at."""
        if id.type.lower() != rbac.DEFINITION.lower() or not id.subscription:
            return id
        return ResourceId(f"/subscriptions/{id.subscription}", id.namespace, id.types, id.names)

    def _check_subscription(self, path: str) -> None:
        parts = path.split("/")
        if (
            len(parts) > 2
            and parts[1].lower() == "subscriptions"
            and self.store.get(f"/subscriptions/{parts[2]}") is None
        ):
            raise ArmRefused(404, "SubscriptionNotFound", f"The subscription '{parts[2]}' could not be found.")

    def _check_group(self, id: ResourceId) -> None:
        group = id.resource_group
        if group and self.store.get(f"/subscriptions/{id.subscription}/resourceGroups/{group}") is None:
            raise ArmRefused(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")

    def _check_parents(self, id: ResourceId) -> None:
        if id.type != GROUP_TYPE:
            self._check_group(id)
        if id.parent is not None and self.store.get(id.parent.text) is None:
            raise ArmRefused(
                404,
                "ParentResourceNotFound",
                f"Failed to perform 'write' on resource(s) of type '{'/'.join(id.types)}', because the parent "
                f"resource '{id.parent.text}' could not be found.",
            )
        if id.resource_group and not id.type.lower().startswith("microsoft.authorization"):
            registered = self.store.get(
                f"/subscriptions/{id.subscription}/providers/Microsoft.Resources/registrations/{id.namespace}"
            )
            if registered is not None and registered.properties.get("registrationState") != "Registered":
                raise ArmRefused(
                    409,
                    "MissingSubscriptionRegistration",
                    f"The subscription is not registered to use namespace '{id.namespace}'. See "
                    f"https://aka.ms/rps-not-found for how to register subscriptions.",
                )

    def _check_locks(self, id: ResourceId, *, removes: bool) -> None:
        for lock in self.store.of_type(LOCK):
            level = lock.properties.get("level")
            if (
                lock.id.key == id.key
                or level not in {"ReadOnly", "CanNotDelete"}
                or (level != "ReadOnly" and not removes)
            ):
                continue
            hit = id.lies_in(lock.id.scope) or (removes and lock.id.lies_in(id.text))
            if hit:
                verb = "delete" if removes else "write"
                raise ArmRefused(
                    409,
                    "ScopeLocked",
                    f"The scope '{id.text}' cannot perform {verb} operation because following scope(s) are locked: "
                    f"'{lock.id.scope}'. Please remove the lock and try again.",
                )

    def _check_policy(self, id: ResourceId, body: Body) -> None:
        found = policy.denial(id, body, self.store)
        if found is None:
            return
        names = {
            "policyAssignment": {
                "name": found.assignment.properties.get("displayName"),
                "id": found.assignment.id.text,
            },
            "policyDefinition": {
                "name": found.definition.properties.get("displayName"),
                "id": found.definition.id.text,
            },
        }
        raise ArmRefused(
            403,
            "RequestDisallowedByPolicy",
            f"Resource '{id.name}' was disallowed by policy. Policy identifiers: '{json.dumps([names])}'.",
            details=({"type": "PolicyViolation", "info": names},),
        )

    def _check_conditions(self, request: Request, before: Resource | None) -> None:
        wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
        failed = (wanted not in {None, "*"} and (before is None or before.etag != wanted)) or (
            unwanted == "*" and before is not None
        )
        if failed:
            raise ArmRefused(412, "PreconditionFailed", "The condition given in If-Match or If-None-Match is not met.")

    def _check_idle(self, id: ResourceId) -> None:
        """Nothing else may be under way on the resource, the one it is nested in, or what is nested beside it."""
        top = id
        while top.parent is not None:
            top = top.parent
        for operation in self.operations.values():
            if operation.resource.type.lower() in self.store.external:
                continue
            if not operation.done and operation.resource.lies_in(top.text):
                raise ArmRefused(
                    409,
                    "AnotherOperationInProgress",
                    f"Another operation on this or dependent resource is in progress. To retrieve status of the "
                    f"operation use uri: operations/{operation.id}.",
                    headers={"Retry-After": "1"},
                )

    # Rights

    def grants(self) -> Iterator[rbac.Grant]:
        """Role assignments, those just removed included as long as they still work."""
        yield from rbac.grants(self.store, self.propagation)
        yield from self.revoked

    def permissions(self, caller: Principal, scope: str, now: datetime) -> tuple[Permissions, ...]:
        """What someone may do at a scope now, a role each."""
        return rbac.effective(caller.object_id, scope, self.grants(), self.store, now)

    def permitted(self, caller: Principal, action: str, scope: str, now: datetime, *, data: bool = False) -> bool:
        """Whether someone may do something at a scope now."""
        return rbac.permitted(self.permissions(caller, scope, now), action, data=data)

    def _authorize(self, caller: Principal, action: str, scope: str, now: datetime) -> None:
        if action and not self.permitted(caller, action, scope, now):
            raise ArmRefused(
                403,
                "AuthorizationFailed",
                f"The client '{caller.name}' with object id '{caller.object_id}' does not have authorization to "
                f"perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently "
                f"granted, please refresh your credentials.",
            )

    def _authorize_link(self, caller: Principal, id: ResourceId, linked: str, action: str, now: datetime) -> None:
        if not self.permitted(caller, action, linked, now):
            raise ArmRefused(
                403,
                "LinkedAuthorizationFailed",
                f"The client '{caller.name}' with object id '{caller.object_id}' has permission to perform action "
                f"'{_rbac_type(id)}/write' on scope '{id.text}'; however, it does not have permission to perform "
                f"action(s) '{action}' on the linked scope(s) '{linked}' or the linked scope(s) are invalid.",
            )

    # Reading

    def _existing(self, id: ResourceId) -> Resource:
        found = self.store.get(id.text)
        if found is None:
            self._check_group(id)
            raise self._not_found(id)
        return found

    def _not_found(self, id: ResourceId) -> ArmRefused:
        if id.type == GROUP_TYPE:
            return ArmRefused(404, "ResourceGroupNotFound", f"Resource group '{id.name}' could not be found.")
        if id.namespace.lower() == "microsoft.authorization":
            codes = {
                "roleassignments": "RoleAssignmentNotFound",
                "roledefinitions": "RoleDefinitionDoesNotExist",
                "policyassignments": "PolicyAssignmentNotFound",
                "policydefinitions": "PolicyDefinitionNotFound",
                "locks": "LockNotFound",
            }
            return ArmRefused(
                404,
                codes.get(id.types[-1].lower(), "ResourceNotFound"),
                f"'{id.name}' could not be found at scope '{id.scope}'.",
            )
        return ArmRefused(
            404,
            "ResourceNotFound",
            f"The Resource '{id.type}/{id.name}' under resource group '{id.resource_group}' was not found. For more "
            f"details please go to https://aka.ms/ARMResourceNotFoundFix",
        )

    def _joined(self, resource: Resource, kind: Kind) -> dict[str, Any]:
        body = dict(resource.body)
        if kind.children:
            properties = dict(body.get("properties") or {})
            for array, inner in kind.children.items():
                properties[array] = [self.render(child) for child in self.store.of_type(inner, resource.id.text)]
            body["properties"] = properties
        return body

    def render(self, resource: Resource) -> dict[str, Any]:
        """The JSON of a resource, as a GET answers it."""
        kind = self._kinds.get(resource.id.type.lower(), Kind(type=resource.id.type))
        shown = replace(resource, body=self._joined(resource, kind))
        body = dict(kind.show(shown, self.store))
        head: dict[str, Any] = {"id": resource.id.text, "name": resource.id.name, "type": resource.id.type}
        if kind.plain:
            return {**body, **head}
        properties = {**(body.get("properties") or {}), "provisioningState": resource.state.value}
        return {**head, **body, "etag": resource.etag, "properties": {**properties, **self.unstored(resource)}}

    def _list(self, request: Request, now: datetime) -> Answer:
        kind, below = self._collection(request.path)
        special = listing.special(kind.type, below, request.query.get("$filter", ""), self.store)
        if special is not None:
            self._authorize(request.caller, f"{kind.type}/read", below, now)
            return Answer(
                status=200, body={"value": [one if isinstance(one, dict) else self.render(one) for one in special]}
            )
        found = [
            resource
            for resource in self.store.of_type(kind.type, below)
            if self.permitted(request.caller, f"{_rbac_type(resource.id)}/read", resource.id.text, now)
        ]
        start = int(request.query.get("$skiptoken", "0") or 0)
        size = min(int(request.query.get("$top", PAGE) or PAGE), PAGE)
        body: dict[str, Any] = {"value": [self.render(one) for one in found[start : start + size]]}
        if start + size < len(found):
            query = {**request.query, "$skiptoken": str(start + size)}
            body["nextLink"] = (
                f"{request.base}{request.path}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
            )
        return Answer(status=200, body=body)

    def _collection(self, path: str) -> tuple[Kind, str]:
        parts = path.strip("/").split("/")
        lower = [part.lower() for part in parts]
        if lower == ["subscriptions"]:
            return self._kinds["microsoft.resources/subscriptions"], ""
        if len(lower) == 3 and lower[2] == "resourcegroups":
            return self._kinds[GROUP_TYPE.lower()], f"/subscriptions/{parts[1]}"
        if "providers" not in lower:
            raise ArmRefused(404, "InvalidResourceType", f"Nothing is known at '{path[:200]}'.")
        at = len(lower) - 1 - lower[::-1].index("providers")
        scope, rest = "/" + "/".join(parts[:at]) if at else "", parts[at + 1 :]
        id = ResourceId(scope, rest[0], tuple(rest[1::2]), (*rest[2::2], "x"))
        kind = self._kind(id)
        if id.parent is None:
            self._check_group(id)
            return kind, scope
        self._existing(id.parent)
        return kind, id.parent.text

    def _edit(self, id: ResourceId, before: Resource | None, body: Body, caller: Principal, now: datetime) -> Edit:
        return Edit(id=id, before=before, body=body, caller=caller, now=now, resources=self.store, new_id=self._new_id)


def _compiled(function: Function) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", function.pattern)
    text = "".join(
        re.escape(part) if n % 2 == 0 else f"(?P<{part}>.+)" if part == "scope" else f"(?P<{part}>[^/]+)"
        for n, part in enumerate(parts)
    )
    return re.compile(text, re.IGNORECASE)


def _scope_of(path: str) -> str:
    """What a function's address lies in: what stands before the last `providers`, or the whole."""
    at = path.lower().rfind("/providers/")
    return path[:at] if at >= 0 else path


def _rbac_type(id: ResourceId) -> str:
    """Resource groups are nested in subscriptions, where actions are concerned."""
    if id.type == GROUP_TYPE:
        return "Microsoft.Resources/subscriptions/resourceGroups"
    return id.type


def _split(body: Body, kind: Kind) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The body without embedded children, and those that were given."""
    properties = dict(body.get("properties") or {})
    given = {array: list(properties.pop(array) or ()) for array in kind.children if array in properties}
    return {**body, "properties": properties} if properties or "properties" in body else dict(body), given


def _checked(body: dict[str, Any], id: ResourceId) -> dict[str, Any]:
    """Without what the service itself says; a body's id, if it has one, must be the address's."""
    given = str(body.get("id") or id.text)
    if given.strip("/").lower() != id.text.strip("/").lower():
        raise ArmRefused(
            400, "InvalidRequestContent", f"The id in the body, '{given[:200]}', is not the one of the request."
        )
    clean = {name: value for name, value in body.items() if name not in {"id", "name", "type", "etag", "systemData"}}
    properties = clean.get("properties")
    if properties is not None and not isinstance(properties, Mapping):
        raise ArmRefused(400, "InvalidRequestContent", "The request content was invalid: 'properties' is no object.")
    if properties is not None:
        clean["properties"] = {name: value for name, value in properties.items() if name != "provisioningState"}
    return clean


def _merged(before: Mapping[str, Any], change: Mapping[str, Any], *, top: bool = True) -> dict[str, Any]:
    """A PATCH: tags are replaced whole, objects merged, null removes."""
    merged = dict(before)
    for name, value in change.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping) and not (top and name == "tags"):
            merged[name] = _merged(merged[name], value, top=False)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged
