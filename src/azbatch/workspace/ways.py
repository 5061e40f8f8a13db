"""What a workspace may have besides: a way out to the internet, the storage by a private endpoint. Pure.

Source: "What is Azure NAT Gateway" (a Standard, static address; one gateway a subnet; no packet comes in by it); "Use
private endpoints for Azure Storage"; "Virtual network link: resolution policy".
"""

from __future__ import annotations

from typing import Any

from azbatch.workspace.model import Body, Ownership, Wanted
from azbatch.workspace.names import BLOB_ZONE, Names

NETWORK_API, DNS_API = "2024-05-01", "2024-06-01"


def way_out(names: Names, at: Body) -> list[Wanted]:
    """A NAT gateway with one address, on the nodes' subnet. `at` has the location and tags of what is ours.

    That the subnet uses it is a part of the subnet, so that it can be put on a network that stands, and taken off it.
    """
    return [
        Wanted(
            code="ip",
            id=names.nat_address,
            api_version=NETWORK_API,
            body={
                **at,
                "sku": {"name": "Standard"},
                "properties": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
            },
            sentence="a public address, by which the nodes are seen on the internet",
        ),
        Wanted(
            code="ng",
            id=names.nat_gateway,
            api_version=NETWORK_API,
            depends_on=(names.nat_address,),
            body={
                **at,
                "sku": {"name": "Standard"},
                "properties": {"publicIpAddresses": [{"id": names.nat_address}]},
            },
            sentence="a NAT gateway: a way out to the internet, for what azbatch network opens; nothing comes in by it",
        ),
        Wanted(
            code="wo",
            id=names.nodes_subnet,
            api_version=NETWORK_API,
            ownership=Ownership.PART,
            depends_on=(names.network, names.nat_gateway),
            body={"properties": {"natGateway": {"id": names.nat_gateway}}},
            sentence="the nodes' subnet leaves by the NAT gateway",
        ),
    ]


def storage_endpoint(names: Names, at: Body, storage: Body, *, central_dns: bool) -> list[Wanted]:
    """A private endpoint of the storage's blobs in the Batch network, and its name there.

    The zone is linked to the Batch network only: from the workspace's the address would not be reached. Names of other
    accounts, which the zone does not know, are asked for on the internet as before.
    """
    connection = {"name": "blob", "properties": {"privateLinkServiceId": str(storage["id"]), "groupIds": ["blob"]}}
    endpoint = Wanted(
        code="ps",
        id=names.storage_endpoint,
        api_version=NETWORK_API,
        depends_on=(names.network,),
        body={
            **at,
            "properties": {
                "subnet": {"id": names.endpoints_subnet},
                "privateLinkServiceConnections": [connection],
            },
        },
        sentence=f"a private endpoint in the Batch network, by which nodes reach the blobs of {storage.get('name')}",
    )
    if central_dns:
        return [endpoint]
    link: dict[str, Any] = {
        "registrationEnabled": False,
        "resolutionPolicy": "NxDomainRedirect",
        "virtualNetwork": {"id": names.network},
    }
    zone = {"name": "blob", "properties": {"privateDnsZoneId": names.blob_zone}}
    anywhere = {"location": "global", "tags": at["tags"]}
    return [
        endpoint,
        Wanted(
            code="zb",
            id=names.blob_zone,
            api_version=DNS_API,
            body=anywhere,
            sentence=f"a private DNS zone {BLOB_ZONE}",
        ),
        Wanted(
            code="l3",
            id=names.zone_link(names.network, names.blob_zone),
            api_version=DNS_API,
            depends_on=(names.blob_zone, names.network),
            body={**anywhere, "properties": link},
            sentence="the storage's name resolves in the Batch network",
        ),
        Wanted(
            code="g3",
            id=f"{names.storage_endpoint}/privateDnsZoneGroups/default",
            api_version=NETWORK_API,
            depends_on=(names.storage_endpoint, names.blob_zone),
            body={"properties": {"privateDnsZoneConfigs": [zone]}},
            sentence="a record for the storage",
        ),
    ]
