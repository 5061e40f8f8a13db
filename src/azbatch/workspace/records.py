"""Private endpoints' addresses, and the records that lead to them where DNS is managed elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from azbatch.workspace.choices import chosen
from azbatch.workspace.design import names_of, storage_account
from azbatch.workspace.model import Body, Facts
from azbatch.workspace.names import BLOB_ZONE, ZONE


def dns_records(facts: Facts) -> list[Mapping[str, str]]:
    """With central DNS: the records its owner has to make, once the endpoints are there."""
    names = names_of(facts)
    account = (facts.found.get(names.account.lower()) or {}).get("properties") or {}
    found: list[Mapping[str, str]] = []
    records = [
        (names.account_endpoint, ZONE, str(account.get("accountEndpoint") or "").removesuffix(".batch.azure.com")),
        (names.node_endpoint, ZONE, str(account.get("nodeManagementEndpoint") or "").removesuffix(".batch.azure.com")),
    ]
    if chosen(facts, names).storage_endpoint:
        records.append((names.storage_endpoint, BLOB_ZONE, str(storage_account(facts).get("name"))))
    for id, zone, name in records:
        for address in endpoint_addresses(facts.found.get(id.lower()) or {}, facts.interfaces) if name else ():
            found.append({"zone": zone, "type": "A", "name": name, "address": address})
    return found


def endpoint_addresses(endpoint: Body, interfaces: Iterable[Body]) -> list[str]:
    """The private addresses of an endpoint, by its network interfaces.

    Its own `customDnsConfigs`, where those may not be read, is empty once a DNS zone group keeps the records
    (Source: REST, Private Endpoints).
    """
    properties = endpoint.get("properties") or {}
    cards = {str(one.get("id", "")).lower() for one in properties.get("networkInterfaces") or ()}
    found = [
        str(inner["properties"]["privateIPAddress"])
        for card in interfaces
        if str(card.get("id", "")).lower() in cards
        for inner in (card.get("properties") or {}).get("ipConfigurations") or ()
        if (inner.get("properties") or {}).get("privateIPAddress")
    ]
    told = [str(text) for one in properties.get("customDnsConfigs") or () for text in one.get("ipAddresses") or ()]
    return list(dict.fromkeys(found or told))
