"""Accounts on nodes, as data. Source: REST, Nodes - Create / Replace / Delete Node User."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from azbatch_emulator import events
from azbatch_emulator.records import Node, NodeState, NodeUser, Refused
from azbatch_emulator.world.state import State

_READY = frozenset({NodeState.IDLE, NodeState.RUNNING, NodeState.OFFLINE, NodeState.WAITING_FOR_START_TASK,
                    NodeState.START_TASK_FAILED})  # fmt: skip


def _node(state: State, pool_id: str, node_id: str) -> Node:
    node = state.node(pool_id, node_id)
    if node.state not in _READY:
        raise Refused("NodeNotReady")
    return node


def _present(node: Node, now: datetime) -> Mapping[str, NodeUser]:
    """Those whose time has not run out: the service removes the others."""
    return {key: user for key, user in node.users.items() if user.expires > now}


def add(state: State, event: events.AddNodeUser, now: datetime) -> None:
    node = _node(state, event.pool_id, event.node_id)
    present, key = _present(node, now), event.user.name.lower()
    if key in present:
        raise Refused("NodeUserExists")
    state.put_node(replace(node, users={**present, key: event.user}))


def replace_user(state: State, event: events.ReplaceNodeUser, now: datetime) -> None:
    node = _node(state, event.pool_id, event.node_id)
    present, key = _present(node, now), event.name.lower()
    if key not in present:
        raise Refused("NodeUserNotFound")
    user = present[key]
    user = replace(
        user,
        expires=event.expires or user.expires,
        ssh_public_key=event.ssh_public_key or user.ssh_public_key,
    )
    state.put_node(replace(node, users={**present, key: user}))


def delete(state: State, event: events.DeleteNodeUser, now: datetime) -> None:
    node = _node(state, event.pool_id, event.node_id)
    present, key = _present(node, now), event.name.lower()
    if key not in present:
        raise Refused("NodeUserNotFound")
    state.put_node(replace(node, users={other: user for other, user in present.items() if other != key}))
