# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VPC with public, private and database subnets, their routes, NAT gateways and endpoints; or the one that is given.

Everything this module creates carries its Name and the stack's tags from the create call on, and is found by them
again: a run that was stopped anywhere leaves nothing that the next one does not see.

Fields name other things of the network by what they are called here (``NAT gateway nexus-learn-nat-a``), not by id, so
that a plan reads the same before and after they exist.

https://docs.aws.amazon.com/vpc/latest/userguide/vpc-example-private-subnets-nat.html
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.policy import compare_policies
from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.nexus_learn.aws.plugins.module_utils import ec2_security_groups
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together, wait_until
from ansible_collections.nexus_learn.aws.plugins.module_utils.ec2_security_groups import mend_tags
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    GATHERED,
    OWNER_TAGS,
    REPLACEMENT,
    Change,
    Exact,
    Failed,
    Refused,
    Say,
    by_resource,
    create,
    delete,
    is_adopted,
    is_foreign,
    leave_foreign,
    predicted,
    refuse_foreign,
    unknown,
    update,
    user_tags,
)

TIERS = ("public", "private", "database")
# https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html
GATEWAY_SERVICES = ("s3", "dynamodb")
INTERNET = "0.0.0.0/0"
# (kind, name) identifies a thing of the network; the kind is how people call it
Key = tuple[str, str]
VPC, GATEWAY, SUBNET, ROUTES, ADDRESS, NAT, ENDPOINT, FLOW_LOG = (
    "VPC",
    "internet gateway",
    "subnet",
    "route table",
    "elastic IP",
    "NAT gateway",
    "VPC endpoint",
    "flow log",
)
# What AWS cannot change, and the option that says it
_FIXED = {
    VPC: {"cidr_block": "cidr_block"},
    SUBNET: {"availability_zone": "availability_zones", "cidr_block": "cidr_block or *_subnets"},
    NAT: {"subnet": "nat_gateway", "elastic_ip": "nat_gateway"},
    ENDPOINT: {"type": "vpc_endpoints"},
}
_LOST = {
    NAT: "private subnets lose this way to the internet for good",
    ENDPOINT: "traffic to this service has to find another way from then on",
    ADDRESS: "the address cannot be had back",
    FLOW_LOG: "traffic is not recorded from then on; what was written stays",
}


def resource(key: Key) -> str:
    return " ".join(key)


# --- what there shall be -----------------------------------------------------------------------------------------


def carve(cidr_block: str, zones: int) -> dict[str, list[str]]:
    """Subnets of the three tiers, each a sixteenth of the VPC: a /16 gives /20 (4091 hosts).

    Blocks 0-3 are public, 4-7 private, 8-11 database, one per zone in order; 12-15 stay free. So a zone can be added
    (up to four) without moving what is there.
    """
    blocks = [str(block) for block in ipaddress.ip_network(cidr_block).subnets(prefixlen_diff=4)]
    return {tier: blocks[4 * number : 4 * number + zones] for number, tier in enumerate(TIERS)}


def subnet_cidrs(params: Mapping, zones: Sequence[str]) -> dict[str, list[str]]:
    """CIDR per tier and zone, given or carved; ``Refused`` for what AWS would not take, naming the option."""
    try:
        whole = ipaddress.ip_network(params["cidr_block"])
    except ValueError as error:
        raise Refused(f"cidr_block is {params['cidr_block']}: {error}.") from error
    if whole.version != 4 or not 16 <= whole.prefixlen <= 28:
        # https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
        raise Refused(f"cidr_block is {whole}; AWS takes an IPv4 block from /16 to /28.")
    given = {tier: params[f"{tier}_subnets"] for tier in TIERS}
    if not all(given.values()):
        if whole.prefixlen > 24:
            raise Refused(
                f"cidr_block {whole} is too small to be divided into subnets: take a /24 or larger, "
                "or set public_subnets, private_subnets and database_subnets."
            )
        if len(zones) > 4:
            raise Refused("For more than four availability_zones set public_, private_ and database_subnets.")
    carved = carve(str(whole), len(zones)) if not all(given.values()) else {}
    result: dict[str, list[str]] = {}
    taken: list[tuple[Any, str]] = []
    for tier in TIERS:
        option = f"{tier}_subnets"
        cidrs = given[tier] or carved[tier]
        if len(cidrs) != len(zones):
            raise Refused(
                f"{option} has {len(cidrs)} CIDRs for {len(zones)} zones ({', '.join(zones)}): give one each."
            )
        for cidr in cidrs:
            try:
                block = ipaddress.ip_network(cidr)
            except ValueError as error:
                raise Refused(f"{option} holds {cidr}: {error}.") from error
            if block.version != 4 or not block.subnet_of(whole):  # type: ignore[arg-type]
                raise Refused(f"{option} holds {cidr}, which does not lie in cidr_block {whole}.")
            for other, where in taken:
                if block.overlaps(other):
                    raise Refused(f"{option} holds {cidr}, which overlaps {other} of {where}.")
            taken.append((block, option))
        result[tier] = [str(ipaddress.ip_network(cidr)) for cidr in cidrs]
    return result


def layout(params: Mapping, zones: Sequence[str], region: str) -> dict[Key, dict[str, Any]]:
    """All that there shall be, without tags, in the order in which it can be created."""
    name = params["name"]
    if len(set(zones)) < len(zones):
        raise Refused(f"availability_zones names a zone twice: {', '.join(zones)}. Name each once.")
    if params["enable_dns_hostnames"] and not params["enable_dns_support"]:
        # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcAttribute.html
        raise Refused("enable_dns_hostnames needs enable_dns_support: set both to true, or both to false.")
    cidrs = subnet_cidrs(params, zones)
    letters = [zone.removeprefix(region).lstrip("-") for zone in zones]
    nats = {"none": [], "single": letters[:1], "per_zone": letters}[params["nat_gateway"]]
    gateway = (GATEWAY, f"{name}-igw")
    tables = {"public": f"{name}-public", "database": f"{name}-database"}
    private_tables = {letter: f"{name}-private-{letter}" for letter in letters}
    items: dict[Key, dict[str, Any]] = {
        (VPC, f"{name}-vpc"): {
            "cidr_block": params["cidr_block"],
            "enable_dns_support": params["enable_dns_support"],
            "enable_dns_hostnames": params["enable_dns_hostnames"],
        },
        gateway: {"attached": True},
        (ROUTES, tables["public"]): {"routes": {INTERNET: resource(gateway)}},
        (ROUTES, tables["database"]): {"routes": {}},
    }
    for letter, table in private_tables.items():
        # With one NAT gateway every zone goes through it; with one each, every zone through its own.
        way_out = letter if letter in nats else next(iter(nats), None)
        routes = {INTERNET: resource((NAT, f"{name}-nat-{way_out}"))} if way_out else {}
        items[ROUTES, table] = {"routes": routes}
    for tier in TIERS:
        for zone, letter, cidr in zip(zones, letters, cidrs[tier], strict=True):
            items[SUBNET, f"{name}-{tier}-{letter}"] = {
                "availability_zone": zone,
                "cidr_block": cidr,
                "map_public_ip_on_launch": tier == "public" and params["map_public_ip_on_launch"],
                "route_table": private_tables[letter] if tier == "private" else tables[tier],
            }
    for letter in nats:
        items[ADDRESS, f"{name}-nat-{letter}"] = {}
        items[NAT, f"{name}-nat-{letter}"] = {
            "subnet": f"{name}-public-{letter}",
            "elastic_ip": f"{name}-nat-{letter}",
        }
    policies = params["vpc_endpoint_policies"]
    for service in policies:
        if service not in params["vpc_endpoints"]:
            raise Refused(f"vpc_endpoint_policies names {service}, which is not in vpc_endpoints. Add it there, too.")
    for service in dict.fromkeys(params["vpc_endpoints"]):
        if service in GATEWAY_SERVICES:
            fields: dict[str, Any] = {
                "type": "Gateway",
                "route_tables": sorted([tables["public"], *private_tables.values()]),
            }
        else:
            if not (params["enable_dns_support"] and params["enable_dns_hostnames"]):
                # https://docs.aws.amazon.com/vpc/latest/privatelink/interface-endpoints.html
                raise Refused(
                    f"The endpoint {service} needs private DNS: set enable_dns_support and enable_dns_hostnames to "
                    "true, or take it out of vpc_endpoints."
                )
            fields = {
                "type": "Interface",
                "subnets": sorted(f"{name}-private-{letter}" for letter in letters),
                "security_groups": [f"{name}-vpc-endpoints"],
                "private_dns_enabled": True,
            }
        if service in policies:
            fields["policy"] = policies[service]
        items[ENDPOINT, f"{name}-{service}"] = fields
    for flow_log in params["flow_logs"] or []:
        key = (FLOW_LOG, f"{name}-{flow_log['log_destination_type']}")
        if key in items:
            raise Refused(f"flow_logs names {flow_log['log_destination_type']} twice; one of each is all there can be.")
        items[key] = _flow_log(flow_log)
    return items


def _flow_log(given_log: Mapping) -> dict[str, Any]:
    """The fields of a flow log; ``Refused`` for what AWS would not take.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFlowLogs.html
    """
    kind, role = given_log["log_destination_type"], given_log["deliver_logs_permission_arn"]
    if kind == "cloud-watch-logs" and not role:
        raise Refused("flow_logs to cloud-watch-logs needs deliver_logs_permission_arn, the role that may write there.")
    if kind == "s3" and role:
        raise Refused("flow_logs to s3 takes no deliver_logs_permission_arn: the bucket's policy says who may write.")
    fields = {key: value for key, value in given_log.items() if value is not None}
    # AWS takes the ARN of a log group with and without the star at its end
    return {**fields, "log_destination": fields["log_destination"].removesuffix(":*")}


def _security_group_params(params: Mapping, vpc_id: str, wanted: bool) -> dict[str, Any]:
    """The group of the interface endpoints, as arguments of ec2_security_groups."""
    rule = {"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": [params["cidr_block"]]}
    return {
        "vpc_id": vpc_id,
        "security_groups": [
            {
                "name": f"{params['name']}-vpc-endpoints",
                "description": "HTTPS from the VPC to the interface endpoints",
                "ingress": [rule],
                # endpoints answer, they never call
                "egress": [],
            }
        ],
        "tags": params["tags"],
        "adopt": params.get("adopt"),
        "state": "present" if wanted else "absent",
        "wait_timeout": params["wait_timeout"],
    }


def _has_interfaces(items: Mapping[Key, Mapping]) -> bool:
    return any(fields.get("type") == "Interface" for fields in items.values())


def desired(params: Mapping, key: Key, fields: Mapping, there: Mapping | None) -> dict[str, Any]:
    """``fields`` of ``layout`` with the tags, and with those routes of others that are left alone.

    Routes to the internet (by internet, NAT and egress-only gateways) are enforced whole; routes to peerings, transit
    gateways and the like belong to whoever made them.
    """
    wanted = dict(fields)
    if "routes" in wanted:
        others = {
            destination: target
            for destination, target in (there or {}).get("routes", {}).items()
            if not target.startswith(("igw-", "nat-", "eigw-", GATEWAY, NAT))
        }
        wanted["routes"] = Exact({**others, **wanted["routes"]})
    if "policy" in wanted:
        before = (there or {}).get("policy")
        # in the wording that is there, where both mean the same
        same = before is not None and not compare_policies(before, wanted["policy"])
        wanted["policy"] = Exact(before if same else wanted["policy"])
    name = {"Name": key[1]}
    wanted["tags"] = name if params["tags"] is None else Exact({**params["tags"], **name})
    return wanted


# --- what there is -----------------------------------------------------------------------------------------------


def _tags(item: Mapping) -> dict[str, str]:
    return user_tags({tag["Key"]: tag["Value"] for tag in item.get("Tags", [])})


def _filters(**values: str | list[str]) -> list[dict]:
    return [
        {"Name": name.replace("_", "-"), "Values": value if isinstance(value, list) else [value]}
        for name, value in values.items()
    ]


def _owned(params: Mapping, tags: Mapping[str, str]) -> bool:
    """Whether something carries this stack's tags; without such tags, whether its name says so."""
    keys = [key for key in OWNER_TAGS if key in (params["tags"] or {})]
    if not keys:
        return tags.get("Name", "").startswith(f"{params['name']}-")
    return all(tags.get(key) == params["tags"][key] for key in keys)


def given(params: Mapping) -> bool:
    return bool(params["vpc_id"] or params["vpc_tags"])


def describe(aws: Aws, params: Mapping) -> dict[str, Any]:
    """``{found, ids, zones, associations, security_groups, pending}``, or for a given VPC ``{vpcs, subnets}``.

    ``found`` maps (kind, name) to its fields, as ``layout`` has them, and ``ids`` to its id. ``associations`` maps
    a subnet's id to the id of its route table association. For state absent ``strangers`` are what somebody else has in
    our VPC, in words. ``foreign`` holds the tags of a VPC of the same name that is not ours, and not looked into; with
    state present it is looked into, for it may be taken over.
    """
    if given(params):
        return _describe_given(aws, params)
    name = params["name"]
    named = [{"Name": "tag:Name", "Values": [f"{name}-vpc"]}]
    vpcs, gateways, addresses = together(
        lambda: aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=named),
        lambda: aws.pages("ec2", "describe_internet_gateways", "InternetGateways"),
        lambda: aws.client("ec2").describe_addresses()["Addresses"],
    )
    ours = [vpc for vpc in vpcs if _owned(params, _tags(vpc))]
    ids = ", ".join(vpc["VpcId"] for vpc in ours or vpcs)
    if not ours and params["state"] == "present":
        if len(vpcs) > 1:
            raise Refused(
                f"There are {len(vpcs)} VPCs {name}-vpc ({ids}), and they belong to somebody else. Nothing in them was "
                "touched. Set name_prefix in the inventory to a name of its own for this environment, or name the one "
                "to use in vpc_id (network_vpc_id)."
            )
        ours = vpcs
    if len(ours) > 1:
        raise Refused(f"There are {len(ours)} VPCs {name}-vpc ({ids}). Delete one, or name it in vpc_id.")
    current: dict[str, Any] = {
        "found": {},
        "ids": {},
        "zones": [],
        "associations": {},
        "security_groups": {},
        "pending": False,
    }
    if vpcs and not ours:
        current["foreign"] = _tags(vpcs[0])
    vpc_id = ours[0]["VpcId"] if ours else None
    # a call of its own, and nothing to see where none was asked for
    wants_flow_logs = params["flow_logs"] is not None or params["state"] == "absent"
    subnets, tables, nats, endpoints, flow_logs, hostnames, support = (
        _inside(aws, vpc_id, wants_flow_logs) if vpc_id else ([], [], [], [], [], None, None)
    )
    current["zones"] = _zones(aws, params, [subnet for subnet in subnets if _named(params, _tags(subnet))])
    current["pending"] = any(item["State"].lower() == "pending" for item in [*nats, *endpoints])
    # what is ours comes last, and so counts where there are two of a name
    gateways, addresses, subnets, tables, nats, endpoints, flow_logs = (
        sorted(items, key=lambda item: _owned(params, _tags(item)))
        for items in (gateways, addresses, subnets, tables, nats, endpoints, flow_logs)
    )
    _collect(aws, params, current, ours, gateways, addresses, subnets, tables, nats, endpoints, flow_logs)
    if vpc_id:
        if params["state"] == "absent":
            current["strangers"] = _strangers(params, current, vpc_id, gateways, subnets, tables, nats, endpoints)
        current["found"][VPC, f"{name}-vpc"].update(enable_dns_hostnames=hostnames, enable_dns_support=support)
    return current


def _named(params: Mapping, tags: Mapping[str, str]) -> bool:
    """Whether something in the VPC is ours; when the VPC is taken over, whether its name says so."""
    return _owned(params, tags) or (
        params["state"] == "present" and tags.get("Name", "").startswith(f"{params['name']}-")
    )


def _strangers(
    params: Mapping,
    current: Mapping,
    vpc_id: str,
    gateways: list,
    subnets: list,
    tables: list,
    nats: list,
    endpoints: list,
) -> list[str]:
    """What is in our VPC and not ours, and so keeps it from being deleted."""
    items = [
        *((GATEWAY, item["InternetGatewayId"], item) for item in gateways if vpc_id in _attached(item)),
        *((SUBNET, item["SubnetId"], item) for item in subnets),
        *(
            (ROUTES, item["RouteTableId"], item)
            for item in tables
            if not any(link.get("Main") for link in item.get("Associations", []))
        ),
        *((NAT, item["NatGatewayId"], item) for item in nats),
        *((ENDPOINT, item["VpcEndpointId"], item) for item in endpoints if item["State"].lower() not in _NO_MORE),
    ]
    return [
        *(
            f"{kind} {item_id} ({_tags(item).get('Name', 'without a name')})"
            for kind, item_id, item in items
            if not _owned(params, _tags(item))
        ),
        *(
            f"{ec2_security_groups.resource(name)} ({group['id']})"
            for name, group in current["security_groups"].items()
            if is_foreign(group["tags"], params["tags"])
        ),
    ]


def _attached(gateway: Mapping) -> list[str]:
    return [link["VpcId"] for link in gateway.get("Attachments", [])]


def _inside(aws: Aws, vpc_id: str, flow_logs: bool) -> list:
    """Subnets, route tables, NAT gateways, endpoints, flow logs, DNS hostnames and DNS support of one VPC."""

    def attribute(name: str) -> bool:
        answer = aws.client("ec2").describe_vpc_attribute(VpcId=vpc_id, Attribute=name)
        return answer[name[0].upper() + name[1:]]["Value"]

    here = _filters(vpc_id=vpc_id)
    alive = _filters(vpc_id=vpc_id, state=["pending", "available"])
    return together(
        lambda: aws.pages("ec2", "describe_subnets", "Subnets", Filters=here),
        lambda: aws.pages("ec2", "describe_route_tables", "RouteTables", Filters=here),
        lambda: aws.pages("ec2", "describe_nat_gateways", "NatGateways", Filter=alive),
        lambda: aws.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=here),
        lambda: (
            aws.pages("ec2", "describe_flow_logs", "FlowLogs", Filter=_filters(resource_id=vpc_id)) if flow_logs else []
        ),
        lambda: attribute("enableDnsHostnames"),
        lambda: attribute("enableDnsSupport"),
    )


def _zones(aws: Aws, params: Mapping, subnets: Iterable[Mapping]) -> list[str]:
    """The zones that are given; else those of the subnets that are there; else the first two of the region."""
    if params["availability_zones"]:
        return params["availability_zones"]
    there = sorted({subnet["AvailabilityZone"] for subnet in subnets})
    if len(there) >= 2 or params["state"] != "present":
        return there
    # In whatever state: a zone that is impaired today must not move the network.
    zones = aws.client("ec2").describe_availability_zones(
        Filters=_filters(zone_type="availability-zone", opt_in_status="opt-in-not-required")
    )["AvailabilityZones"]
    return sorted(zone["ZoneName"] for zone in zones)[:2]


def _collect(
    aws: Aws,
    params: Mapping,
    current: dict[str, Any],
    vpcs: list,
    gateways: list,
    addresses: list,
    subnets: list,
    tables: list,
    nats: list,
    endpoints: list,
    flow_logs: list,
) -> None:
    """Put what AWS answered into ``found`` and ``ids`` of ``current``, ids turned into names."""
    name, found, ids = params["name"], current["found"], current["ids"]
    names: dict[str, str] = {}

    def add(kind: str, item_name: str, item_id: str, item: Mapping, **fields: Any) -> None:
        found[kind, item_name] = {**fields, "tags": _tags(item)}
        ids[kind, item_name] = item_id
        names[item_id] = item_name

    wanted: dict[Key, dict[str, Any]] = {}
    if params["state"] != "absent" and current["zones"]:
        wanted = layout(params, current["zones"], aws.region)

    def called(kind: str, item: Mapping) -> str | None:
        """Its name, if it is ours, or somebody else's in the place of one that there shall be."""
        tags = _tags(item)
        mine = _owned(params, tags) or (params["state"] == "present" and (kind, tags.get("Name")) in wanted)
        return tags["Name"] if mine and tags.get("Name", "").startswith(f"{name}-") else None

    for vpc in vpcs:
        add(VPC, f"{name}-vpc", vpc["VpcId"], vpc, cidr_block=vpc["CidrBlock"])
    vpc_id = vpcs[0]["VpcId"] if vpcs else None
    for gateway in sorted(gateways, key=lambda item: vpc_id in _attached(item)):
        attached = _attached(gateway)
        if params["state"] == "absent" and not _owned(params, _tags(gateway)):
            continue
        # A VPC has one internet gateway at most: the attached one it is, whatever its name.
        if (vpc_id in attached) or (not attached and called(GATEWAY, gateway) == f"{name}-igw"):
            add(GATEWAY, f"{name}-igw", gateway["InternetGatewayId"], gateway, attached=bool(attached))

    by_cidr = {fields["cidr_block"]: key[1] for key, fields in wanted.items() if key[0] == SUBNET}
    table_of = {}
    for table in tables:
        for link in table.get("Associations", []):
            if "SubnetId" in link:
                table_of[link["SubnetId"]] = table["RouteTableId"]
                current["associations"][link["SubnetId"]] = link["RouteTableAssociationId"]
        if called(ROUTES, table):
            names[table["RouteTableId"]] = called(ROUTES, table)  # type: ignore[assignment]
    for subnet in subnets:
        # By its CIDR when its name was lost: AWS allows no second subnet there.
        subnet_name = called(SUBNET, subnet) or by_cidr.get(subnet["CidrBlock"])
        if subnet_name:
            table_id = table_of.get(subnet["SubnetId"])
            add(
                SUBNET,
                subnet_name,
                subnet["SubnetId"],
                subnet,
                availability_zone=subnet["AvailabilityZone"],
                cidr_block=subnet["CidrBlock"],
                map_public_ip_on_launch=subnet["MapPublicIpOnLaunch"],
                route_table=names.get(table_id, table_id) if table_id else None,
            )

    addresses_by_id = {address["AllocationId"]: address for address in addresses if "AllocationId" in address}
    address_names = {
        item_id: called(ADDRESS, address)
        for item_id, address in addresses_by_id.items()
        if (called(ADDRESS, address) or "").startswith(f"{name}-nat-")
    }
    for nat in nats:
        allocation = next((link.get("AllocationId") for link in nat["NatGatewayAddresses"]), None)
        # The other way round, too: an address or a gateway that lost its name is known by the one it belongs to.
        nat_name = called(NAT, nat) or (
            address_names.get(allocation) if params["state"] == "present" or _owned(params, _tags(nat)) else None
        )
        if not nat_name:
            continue
        if allocation in addresses_by_id:
            address_names.setdefault(allocation, nat_name)
        add(
            NAT,
            nat_name,
            nat["NatGatewayId"],
            nat,
            subnet=names.get(nat["SubnetId"], nat["SubnetId"]),
            elastic_ip=address_names.get(allocation, allocation),
            public_ip=next((link.get("PublicIp") for link in nat["NatGatewayAddresses"]), None),
        )
    for item_id, address_name in address_names.items():
        add(ADDRESS, address_name, item_id, addresses_by_id[item_id])  # type: ignore[arg-type]

    groups = _security_group_params(params, vpc_id or unknown(VPC, f"{name}-vpc"), True)
    current["security_groups"] = ec2_security_groups.describe(aws, groups)
    names.update({group["id"]: group_name for group_name, group in current["security_groups"].items()})
    for table in tables:
        if called(ROUTES, table):
            add(ROUTES, called(ROUTES, table), table["RouteTableId"], table, routes=_routes(table, names))  # type: ignore[arg-type]
    for endpoint in endpoints:
        if endpoint["State"].lower() in _NO_MORE:
            continue
        fields: dict[str, Any] = {"type": endpoint["VpcEndpointType"]}
        if fields["type"] == "Gateway":
            fields["route_tables"] = sorted(names.get(item, item) for item in endpoint.get("RouteTableIds", []))
        else:
            fields["subnets"] = sorted(names.get(item, item) for item in endpoint.get("SubnetIds", []))
            fields["security_groups"] = sorted(
                names.get(group["GroupId"], group["GroupId"]) for group in endpoint.get("Groups", [])
            )
            fields["private_dns_enabled"] = endpoint.get("PrivateDnsEnabled", False)
        fields["policy"] = json.loads(endpoint.get("PolicyDocument") or "{}")
        service = endpoint["ServiceName"].split(f".{aws.region}.", 1)[-1]
        in_the_way = params["state"] == "present" and service in params["vpc_endpoints"]
        if in_the_way or _owned(params, _tags(endpoint)):
            add(ENDPOINT, f"{name}-{service}", endpoint["VpcEndpointId"], endpoint, **fields)
    for flow_log in flow_logs:
        kind = flow_log.get("LogDestinationType", "cloud-watch-logs")
        # by what it writes to when its name was lost
        log_name = called(FLOW_LOG, flow_log) or (f"{name}-{kind}" if _owned(params, _tags(flow_log)) else None)
        if log_name:
            # AWS answers with the name of a log group, not with its ARN
            group = (
                f"arn:{aws.partition}:logs:{aws.region}:{vpcs[0]['OwnerId']}:log-group:{flow_log.get('LogGroupName')}"
            )
            fields = {
                "log_destination_type": kind,
                "log_destination": (flow_log.get("LogDestination") or group).removesuffix(":*"),
                "traffic_type": flow_log["TrafficType"],
                "deliver_logs_permission_arn": flow_log.get("DeliverLogsPermissionArn"),
                "max_aggregation_interval": flow_log["MaxAggregationInterval"],
                "log_format": flow_log["LogFormat"],
            }
            add(FLOW_LOG, log_name, flow_log["FlowLogId"], flow_log, **fields)


_NO_MORE = ("deleting", "deleted", "failed", "rejected", "expired")


def _routes(table: Mapping, names: Mapping[str, str]) -> dict[str, str]:
    """Destination to target of the routes that were made by somebody, not by AWS (local, propagated, endpoints)."""
    routes = {}
    for route in table.get("Routes", []):
        if route.get("Origin", "CreateRoute") != "CreateRoute" or route.get("GatewayId", "").startswith("vpce-"):
            continue
        destination = next(route[key] for key in _DESTINATIONS if route.get(key))
        target = next((value for key, value in route.items() if key in _TARGETS and value), "?")
        kind = GATEWAY if target.startswith("igw-") else NAT
        routes[destination] = resource((kind, names[target])) if target in names else target
    return routes


_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
_TARGETS = (
    "GatewayId",
    "NatGatewayId",
    "EgressOnlyInternetGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "NetworkInterfaceId",
    "InstanceId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "CoreNetworkArn",
)


def _describe_given(aws: Aws, params: Mapping) -> dict[str, Any]:
    if params["vpc_id"]:
        # as a filter: an id that does not exist is then an empty answer
        filters = _filters(vpc_id=params["vpc_id"])
    else:
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in params["vpc_tags"].items()]
    vpcs = aws.pages("ec2", "describe_vpcs", "Vpcs", Filters=filters)
    subnets = []
    if len(vpcs) == 1:
        subnets = aws.pages("ec2", "describe_subnets", "Subnets", Filters=_filters(vpc_id=vpcs[0]["VpcId"]))
    return {"vpcs": vpcs, "subnets": subnets}


def chosen_subnets(params: Mapping, current: Mapping, region: str) -> dict[str, list[dict]]:
    """Subnets per tier of the given VPC, in the order of zones; ``Refused`` when they will not do."""
    vpcs = current["vpcs"]
    if params["vpc_id"] and not vpcs:
        raise Refused(
            f"There is no VPC {params['vpc_id']} in {region}. Correct vpc_id, or leave it out to have one created."
        )
    if len(vpcs) != 1:
        found = ", ".join(vpc["VpcId"] for vpc in vpcs) or "none"
        raise Refused(
            f"vpc_tags {params['vpc_tags']} have to match one VPC of {region} and match {len(vpcs)} ({found}). "
            "Change vpc_tags, or set vpc_id."
        )
    vpc_id = vpcs[0]["VpcId"]
    result: dict[str, list[dict]] = {}
    for tier in TIERS:
        ids, tags = params[f"{tier}_subnet_ids"], params[f"{tier}_subnet_tags"]
        if ids:
            missing = [item for item in ids if item not in {subnet["SubnetId"] for subnet in current["subnets"]}]
            if missing:
                raise Refused(
                    f"{tier}_subnet_ids names {', '.join(missing)}, which is no subnet of {vpc_id}. Correct it."
                )
            mine = [subnet for subnet in current["subnets"] if subnet["SubnetId"] in ids]
        elif tags:
            mine = [subnet for subnet in current["subnets"] if tags.items() <= _tags(subnet).items()]
            if not mine:
                raise Refused(f"{tier}_subnet_tags {tags} match no subnet of {vpc_id}. Correct them.")
        elif tier == "public":
            # only an internet-facing load balancer needs them
            mine = []
        else:
            raise Refused(
                f"{vpc_id} is given, but not which of its subnets are the {tier} ones: "
                f"set {tier}_subnet_ids or {tier}_subnet_tags."
            )
        result[tier] = sorted(mine, key=lambda subnet: (subnet["AvailabilityZone"], subnet["SubnetId"]))
    zones = {subnet["AvailabilityZone"] for subnet in result["database"]}
    if len(zones) < 2:
        raise Refused(
            f"The database subnets lie in {', '.join(zones)} alone; Redis needs two zones to survive the loss of one. "
            "Add a subnet of another zone to database_subnet_ids or database_subnet_tags."
        )
    return result


# --- plan --------------------------------------------------------------------------------------------------------


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    if given(params):
        if params["state"] == "present":
            idle = next((name for name in ("flow_logs", "vpc_endpoint_policies") if params[name]), None)
            if idle:
                raise Refused(
                    f"{idle} (network_{idle}) is set, and so is vpc_id or vpc_tags: in a VPC that is given nothing is "
                    f"made. Leave {idle} out, or those two."
                )
            chosen_subnets(params, current, aws.region)
        return []
    unused = [f"{tier}_subnet_{what}" for tier in TIERS for what in ("ids", "tags") if params[f"{tier}_subnet_{what}"]]
    if unused:
        raise Refused(f"{unused[0]} chooses subnets of a VPC that is there: set vpc_id or vpc_tags, too, or remove it.")
    found = current["found"]
    if params["state"] == "absent":
        if current.get("strangers"):
            raise Refused(
                f"VPC {params['name']}-vpc cannot be deleted, for this in it belongs to somebody else: "
                f"{', '.join(current['strangers'])}. Nothing was deleted. Delete it, or give it the tags of this stack."
            )
        groups = _groups(params, current, False)
        group_changes = ec2_security_groups.plan(aws, groups, current["security_groups"])
        left = [leave_foreign(f"VPC {params['name']}-vpc", current["foreign"])] if "foreign" in current else []
        order = (FLOW_LOG, ENDPOINT, NAT, ADDRESS, GATEWAY, SUBNET, ROUTES)
        changes = [_gone(key, found[key]) for kind in order for key in found if key[0] == kind]
        return [*left, *changes, *group_changes, *(_gone(key, found[key]) for key in found if key[0] == VPC)]
    _refuse_foreign(params, current)
    wanted = layout(params, current["zones"], aws.region)
    changes = []
    for key, fields in wanted.items():
        there = found.get(key)
        goal = desired(params, key, fields, there)
        if there is None:
            changes.append(create(resource(key), goal))
            continue
        _refuse_fixed(key, there, goal)
        changes += [_marked(change) for change in update(resource(key), there, goal)]
    for key, there in found.items():
        if key in wanted:
            continue
        if key[0] == SUBNET:
            raise Refused(
                f"{resource(key)} ({there['cidr_block']}, {there['availability_zone']}) is there and no longer wanted. "
                f"A subnet in use cannot be moved: put {there['availability_zone']} back into availability_zones, "
                "or destroy the stack first."
            )
        if key[0] in _LOST:
            changes.append(_gone(key, there))
    groups = _groups(params, current, _has_interfaces(wanted))
    return [*changes, *ec2_security_groups.plan(aws, groups, current["security_groups"])]


def _refuse_foreign(params: Mapping, current: Mapping) -> None:
    """``refuse_foreign`` that names all at once: a network is taken over as a whole."""
    tags = {resource(key): fields["tags"] for key, fields in current["found"].items()}
    tags |= {ec2_security_groups.resource(name): group["tags"] for name, group in current["security_groups"].items()}
    foreign = [name for name in tags if is_foreign(tags[name], params["tags"]) and not is_adopted(name, params)]
    if foreign:
        refuse_foreign(foreign[0], tags[foreign[0]], params, foreign[1:])


def _groups(params: Mapping, current: Mapping, wanted: bool) -> dict[str, Any]:
    key = (VPC, f"{params['name']}-vpc")
    return _security_group_params(params, current["ids"].get(key, unknown(*key)), wanted)


def _gone(key: Key, fields: Mapping) -> Change:
    return delete(resource(key), fields, note=_LOST.get(key[0], ""))


def _refuse_fixed(key: Key, there: Mapping, goal: Mapping) -> None:
    for field, option in _FIXED.get(key[0], {}).items():
        if field in goal and goal[field] != there[field]:
            raise Refused(
                f"{resource(key)} has {field} {there[field]}, wanted is {goal[field]}; AWS cannot change it while the "
                f"network is in use. Set {option} back, or destroy the stack first."
            )


def _marked(change: Change) -> Change:
    if change.path.startswith("routes.") and change.before is not None:
        return replace(change, impact=DISRUPTIVE, note=_moved(change))
    if change.path in ("route_table", "subnets", "route_tables") and change.before:
        return replace(change, impact=DISRUPTIVE, note=_moved(change))
    if change.path == "policy" or change.path.startswith("policy."):
        return replace(
            change, impact=DISRUPTIVE, note="requests that only the old policy allows are refused from then on"
        )
    if change.resource.startswith(FLOW_LOG) and not change.path.startswith("tags."):
        note = "AWS cannot change it, so another flow log takes its place; what was written stays"
        return replace(change, impact=REPLACEMENT, note=note)
    if change.path.startswith("enable_dns") and change.after is False:
        return replace(change, impact=DISRUPTIVE, note="names inside the VPC no longer resolve from then on")
    return change


def _moved(change: Change) -> str:
    if change.after:
        return "connections by the old way break; new ones take the new way at once"
    return "connections by this way break, and none can be made by it from then on"


# --- apply -------------------------------------------------------------------------------------------------------


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    if params["state"] == "absent":
        _Removal(aws, params, current, say).everything()
    else:
        _Work(aws, params, current, changes, say).everything()


def _settled(call: Callable[[], Any], seconds: float = 60) -> Any:
    """Make a call that names something new: EC2 may not find it for some seconds (``InvalidSubnetID.NotFound``).

    https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not error_code(error).endswith(".NotFound") or time.monotonic() > deadline:
                raise
        time.sleep(1)


class _Work:
    """Carrying out a plan for state present; ``ids`` grows while things are created."""

    def __init__(self, aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say):
        self.aws, self.params, self.current, self.say = aws, params, current, say
        self.ec2 = aws.client("ec2")
        self.ids: dict[Key, str] = dict(current["ids"])
        self.wanted = layout(params, current["zones"], aws.region)
        self.planned = by_resource(changes)
        self.vpc = (VPC, f"{params['name']}-vpc")
        self.group = f"{params['name']}-vpc-endpoints"

    def everything(self) -> None:
        self.do(VPC)
        # all that needs nothing but the VPC
        together(
            *(
                lambda key=key: self.one(key)
                for key in self.keys(GATEWAY, SUBNET, ROUTES, ADDRESS)
                if resource(key) in self.planned
            ),
            self.endpoints_group,
        )
        self.do(NAT, ENDPOINT, FLOW_LOG)
        # CreateRoute wants a NAT gateway that is available
        _wait_available(self.aws, self.params, self.ids[self.vpc], self.say)
        together(
            *(lambda key=key: self.routes(key) for key in self.keys(ROUTES) if resource(key) in self.planned),
            *(lambda key=key: self.association(key) for key in self.keys(SUBNET) if resource(key) in self.planned),
        )
        extra = [key for key in self.current["found"] if key not in self.wanted and resource(key) in self.planned]
        if extra:
            _Removal(self.aws, self.params, self.current, self.say).some(extra)
        if self.group_changes() and not _has_interfaces(self.wanted):
            groups = _groups(self.params, self.current, False)
            ec2_security_groups.apply(self.aws, groups, self.current["security_groups"], self.group_changes(), self.say)

    def keys(self, *kinds: str) -> list[Key]:
        return [key for key in self.wanted if key[0] in kinds]

    def do(self, *kinds: str) -> None:
        together(*(lambda key=key: self.one(key) for key in self.keys(*kinds) if resource(key) in self.planned))

    def group_changes(self) -> list[Change]:
        return self.planned.get(ec2_security_groups.resource(self.group), [])

    def endpoints_group(self) -> None:
        changes = self.group_changes()
        if not _has_interfaces(self.wanted):
            return
        groups = _security_group_params(self.params, self.ids[self.vpc], True)
        if changes:
            known = self.current["security_groups"]
            _settled(lambda: ec2_security_groups.apply(self.aws, groups, known, changes, self.say))
        self.ids["security group", self.group] = ec2_security_groups.describe(self.aws, groups)[self.group]["id"]

    def one(self, key: Key) -> None:
        """Create a thing, or mend of it what needs nothing else."""
        kind, goal = key[0], desired(self.params, key, self.wanted[key], self.current["found"].get(key))
        there = self.current["found"].get(key)
        if kind == FLOW_LOG and there and any(there[field] != goal[field] for field in goal if field != "tags"):
            self.ec2.delete_flow_logs(FlowLogIds=[self.ids[key]])
            there = None
        if there is None:
            self.ids[key] = self.create(key, goal)
            there = {"tags": goal["tags"], **_NEW.get(kind, {})}
        item_id = self.ids[key]
        if kind == VPC:
            # one attribute per call; hostnames need support, so that it comes first and goes last
            attributes = [("enable_dns_support", "EnableDnsSupport"), ("enable_dns_hostnames", "EnableDnsHostnames")]
            for field, argument in attributes if goal["enable_dns_support"] else reversed(attributes):
                if there[field] != goal[field]:
                    attribute = {argument: {"Value": goal[field]}}
                    _settled(partial(self.ec2.modify_vpc_attribute, VpcId=item_id, **attribute))
        elif kind == GATEWAY and not there["attached"]:
            _settled(lambda: self.ec2.attach_internet_gateway(InternetGatewayId=item_id, VpcId=self.ids[self.vpc]))
        elif kind == SUBNET and there["map_public_ip_on_launch"] != goal["map_public_ip_on_launch"]:
            value = {"Value": goal["map_public_ip_on_launch"]}
            _settled(lambda: self.ec2.modify_subnet_attribute(SubnetId=item_id, MapPublicIpOnLaunch=value))
        elif kind == ENDPOINT:
            self.modify_endpoint(item_id, there, goal)
        kept = there["tags"] if self.params["tags"] is None else {}
        mend_tags(self.aws, item_id, there["tags"], {**kept, **goal["tags"]})

    def create(self, key: Key, goal: Mapping) -> str:
        kind, name = key
        vpc_id = self.ids.get(self.vpc)
        path: tuple[str | int, ...]
        if kind == VPC:
            call, what, path = self.ec2.create_vpc, {"CidrBlock": goal["cidr_block"]}, ("Vpc", "VpcId")
        elif kind == GATEWAY:
            call, what = self.ec2.create_internet_gateway, {}
            path = ("InternetGateway", "InternetGatewayId")
        elif kind == SUBNET:
            call, path = self.ec2.create_subnet, ("Subnet", "SubnetId")
            what = {"VpcId": vpc_id, "CidrBlock": goal["cidr_block"], "AvailabilityZone": goal["availability_zone"]}
        elif kind == ROUTES:
            call, what, path = self.ec2.create_route_table, {"VpcId": vpc_id}, ("RouteTable", "RouteTableId")
        elif kind == ADDRESS:
            call, what, path = self.ec2.allocate_address, {"Domain": "vpc"}, ("AllocationId",)
        elif kind == NAT:
            call, path = self.ec2.create_nat_gateway, ("NatGateway", "NatGatewayId")
            what = {
                "SubnetId": self.ids[SUBNET, goal["subnet"]],
                "AllocationId": self.ids[ADDRESS, goal["elastic_ip"]],
            }
        elif kind == FLOW_LOG:
            call, path = self._create_flow_logs, ("FlowLogIds", 0)
            what = {_FLOW_LOG_ARGUMENTS[field]: goal[field] for field in goal if field != "tags"}
        else:
            call, path = self.ec2.create_vpc_endpoint, ("VpcEndpoint", "VpcEndpointId")
            service = name.removeprefix(f"{self.params['name']}-")
            what = {
                "VpcId": vpc_id,
                "VpcEndpointType": goal["type"],
                "ServiceName": f"com.amazonaws.{self.aws.region}.{service}",
            }
            if goal["type"] == "Gateway":
                what["RouteTableIds"] = [self.ids[ROUTES, table] for table in goal["route_tables"]]
            else:
                what["SubnetIds"] = [self.ids[SUBNET, subnet] for subnet in goal["subnets"]]
                what["SecurityGroupIds"] = [self.ids["security group", group] for group in goal["security_groups"]]
                what["PrivateDnsEnabled"] = goal["private_dns_enabled"]
            if "policy" in goal:
                what["PolicyDocument"] = json.dumps(goal["policy"])
        tags = ansible_dict_to_boto3_tag_list(goal["tags"])
        specification = [{"ResourceType": _RESOURCE_TYPES[kind], "Tags": tags}]
        answer: Any = _settled(lambda: call(**what, TagSpecifications=specification))
        for step in path:
            answer = answer[step]
        return answer

    def _create_flow_logs(self, **arguments: Any) -> dict[str, Any]:
        answer = self.ec2.create_flow_logs(ResourceType="VPC", ResourceIds=[self.ids[self.vpc]], **arguments)
        for failure in answer.get("Unsuccessful", []):
            raise Failed(f"{FLOW_LOG} to {arguments['LogDestination']}: {failure['Error']['Message']}")
        return answer

    def modify_endpoint(self, endpoint_id: str, there: Mapping, goal: Mapping) -> None:
        arguments: dict[str, Any] = {}
        # field, kind of what it lists, arguments of ModifyVpcEndpoint
        for field, kind, argument in (
            ("route_tables", ROUTES, "RouteTableIds"),
            ("subnets", SUBNET, "SubnetIds"),
            ("security_groups", "security group", "SecurityGroupIds"),
        ):
            if field in goal and field in there and goal[field] != there[field]:
                new = [self.ids[kind, item] for item in goal[field] if item not in there[field]]
                gone = [self.ids.get((kind, item), item) for item in there[field] if item not in goal[field]]
                arguments |= {f"Add{argument}": new} if new else {}
                arguments |= {f"Remove{argument}": gone} if gone else {}
        if there.get("private_dns_enabled", True) != goal.get("private_dns_enabled", True):
            arguments["PrivateDnsEnabled"] = goal["private_dns_enabled"]
        if "policy" in goal and "policy" in there and goal["policy"] != there["policy"]:
            arguments["PolicyDocument"] = json.dumps(goal["policy"])
        if arguments:
            _settled(lambda: self.ec2.modify_vpc_endpoint(VpcEndpointId=endpoint_id, **arguments))

    def routes(self, key: Key) -> None:
        there = self.current["found"].get(key) or {"routes": {}}
        goal = desired(self.params, key, self.wanted[key], there)["routes"]
        table = self.ids[key]
        for destination, target in goal.items():
            if there["routes"].get(destination) == target:
                continue
            kind = GATEWAY if target.startswith(GATEWAY) else NAT
            where = {
                "RouteTableId": table,
                "DestinationCidrBlock": destination,
                "GatewayId" if kind == GATEWAY else "NatGatewayId": self.ids[kind, target.removeprefix(f"{kind} ")],
            }
            call = self.ec2.replace_route if destination in there["routes"] else self.ec2.create_route
            _settled(partial(call, **where))
        for destination in there["routes"].keys() - goal.keys():
            argument = "DestinationCidrBlock"
            if destination.startswith("pl-"):
                argument = "DestinationPrefixListId"
            elif ":" in destination:
                argument = "DestinationIpv6CidrBlock"
            self.ec2.delete_route(RouteTableId=table, **{argument: destination})

    def association(self, key: Key) -> None:
        table = self.wanted[key]["route_table"]
        if self.current["found"].get(key, {}).get("route_table") == table:
            return
        subnet_id, table_id = self.ids[key], self.ids[ROUTES, table]
        link = self.current["associations"].get(subnet_id)
        if link:
            self.ec2.replace_route_table_association(AssociationId=link, RouteTableId=table_id)
        else:
            _settled(lambda: self.ec2.associate_route_table(SubnetId=subnet_id, RouteTableId=table_id))


# What AWS gives to new things
_NEW: dict[str, dict[str, Any]] = {
    VPC: {"enable_dns_support": True, "enable_dns_hostnames": False},
    GATEWAY: {"attached": False},
    SUBNET: {"map_public_ip_on_launch": False},
}
_FLOW_LOG_ARGUMENTS = {
    "log_destination_type": "LogDestinationType",
    "log_destination": "LogDestination",
    "traffic_type": "TrafficType",
    "deliver_logs_permission_arn": "DeliverLogsPermissionArn",
    "max_aggregation_interval": "MaxAggregationInterval",
    "log_format": "LogFormat",
}
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TagSpecification.html
_RESOURCE_TYPES = {
    VPC: "vpc",
    GATEWAY: "internet-gateway",
    SUBNET: "subnet",
    ROUTES: "route-table",
    ADDRESS: "elastic-ip",
    NAT: "natgateway",
    ENDPOINT: "vpc-endpoint",
    FLOW_LOG: "vpc-flow-log",
}


class _Removal:
    """Deleting what is ours, in the order that AWS demands."""

    def __init__(self, aws: Aws, params: Mapping, current: Mapping, say: Say):
        self.aws, self.params, self.current, self.say = aws, params, current, say
        self.ec2 = aws.client("ec2")
        self.ids = current["ids"]
        self.vpc_id = self.ids.get((VPC, f"{params['name']}-vpc"))
        self.here = _filters(vpc_id=self.vpc_id or "none")

    def some(self, keys: Sequence[Key]) -> None:
        """Endpoints, NAT gateways and flow logs at once, and when they are gone the addresses."""
        flow_logs = [self.ids[key] for key in keys if key[0] == FLOW_LOG]
        if flow_logs:
            self.ec2.delete_flow_logs(FlowLogIds=flow_logs)
        endpoints = [self.ids[key] for key in keys if key[0] == ENDPOINT]
        nats = [self.ids[key] for key in keys if key[0] == NAT]
        if endpoints:
            failures = self.ec2.delete_vpc_endpoints(VpcEndpointIds=endpoints).get("Unsuccessful", [])
            if failures:
                raise Failed("; ".join(f"{item['ResourceId']}: {item['Error']['Message']}" for item in failures))
        together(*(lambda nat=nat: self.ec2.delete_nat_gateway(NatGatewayId=nat) for nat in nats))
        if endpoints or nats:
            self.wait("NAT gateways and endpoints", lambda: self.left({*endpoints, *nats}))
        for key in keys:
            if key[0] == ADDRESS:
                self.ec2.release_address(AllocationId=self.ids[key])

    def left(self, ids: set[str]) -> tuple[bool, str]:
        """Whether these endpoints and NAT gateways are gone: deleting them takes AWS minutes."""
        endpoints, nats = together(
            lambda: self.aws.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=self.here),
            lambda: self.aws.pages("ec2", "describe_nat_gateways", "NatGateways", Filter=self.here),
        )
        states = {item["VpcEndpointId"]: item["State"] for item in endpoints}
        states |= {item["NatGatewayId"]: item["State"] for item in nats}
        there = sorted(item for item in ids if states.get(item, "deleted").lower() != "deleted")
        return not there, f"deleting {', '.join(there)}" if there else "deleted"

    def everything(self) -> None:
        found = self.current["found"]
        self.some(list(found))
        steps: list[tuple[str, Callable[[], Any]]] = []

        def step(what: str, call: Callable, **arguments: Any) -> None:
            steps.append((what, lambda: call(**arguments)))

        items = {kind: [key for key in found if key[0] == kind] for kind in (GATEWAY, SUBNET, ROUTES)}
        for key in items[GATEWAY]:
            if found[key]["attached"]:
                where = {"InternetGatewayId": self.ids[key], "VpcId": self.vpc_id}
                step(resource(key), self.ec2.detach_internet_gateway, **where)
            step(resource(key), self.ec2.delete_internet_gateway, InternetGatewayId=self.ids[key])
        for key in items[SUBNET]:
            link = self.current["associations"].get(self.ids[key])
            if link:
                step(resource(key), self.ec2.disassociate_route_table, AssociationId=link)
            step(resource(key), self.ec2.delete_subnet, SubnetId=self.ids[key])
        for key in items[ROUTES]:
            step(resource(key), self.ec2.delete_route_table, RouteTableId=self.ids[key])
        for name, group in self.current["security_groups"].items():
            if is_foreign(group["tags"], self.params["tags"]):
                continue
            step(ec2_security_groups.resource(name), self.ec2.delete_security_group, GroupId=group["id"])
        if self.vpc_id:
            step(f"VPC {self.params['name']}-vpc", self.ec2.delete_vpc, VpcId=self.vpc_id)

        def gone() -> tuple[bool, str]:
            while steps:
                what, call = steps[0]
                try:
                    call()
                except self.ec2.exceptions.ClientError as error:
                    if error_code(error) == "DependencyViolation":
                        return False, f"waiting for {what}: {self.tenants(what)}"
                    if not error_code(error).endswith(".NotFound"):
                        raise
                steps.pop(0)
            return True, "deleted"

        self.wait(f"VPC {self.params['name']}-vpc", gone)

    def tenants(self, what: str) -> str:
        """Who is still in the VPC, in words; ``Failed`` when waiting cannot help.

        Network interfaces go away some time after the task, node or load balancer that they belong to; security
        groups do not.
        """
        interfaces, groups = together(
            lambda: self.aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=self.here),
            lambda: self.aws.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=self.here),
        )
        ours = {group["id"] for group in self.current["security_groups"].values()}
        names = ", ".join(
            f"network interface {item['NetworkInterfaceId']} ({item.get('Description') or 'no description'})"
            for item in interfaces
        )
        if names:
            return f"still in it: {names}"
        others = ", ".join(
            f"{group['GroupName']} ({group['GroupId']})"
            for group in groups
            if group["GroupName"] != "default" and group["GroupId"] not in ours
        )
        if others:
            raise Failed(
                f"{what} cannot be deleted, for these security groups are not this module's and still there: {others}. "
                "Delete them and run again."
            )
        return "AWS says that something still uses it, but not what"

    def wait(self, what: str, probe: Callable[[], tuple[bool, str]]) -> None:
        timeout = self.params["wait_timeout"]
        wait_until(probe, timeout=timeout, pause=10, what=what, variable="wait_timeout", say=self.say)


# --- wait and output ---------------------------------------------------------------------------------------------


def _wait_available(aws: Aws, params: Mapping, vpc_id: str, say: Say) -> None:
    """Wait until all NAT gateways and endpoints of the stack are available."""
    if params["nat_gateway"] == "none" and not params["vpc_endpoints"]:
        return
    here = _filters(vpc_id=vpc_id)

    def probe() -> tuple[bool, str]:
        nats, endpoints = together(
            lambda: aws.pages("ec2", "describe_nat_gateways", "NatGateways", Filter=here),
            lambda: aws.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=here),
        )
        ours = [item for item in [*nats, *endpoints] if _owned(params, _tags(item))]
        alive = {_tags(item).get("Name") for item in ours if item["State"].lower() in ("pending", "available")}
        for item in ours:
            # AWS shows a failed one for about an hour, also when another has taken its place.
            name = _tags(item).get("Name")
            if item["State"].lower() == "failed" and name not in alive:
                reason = item.get("FailureMessage") or item.get("LastError", {}).get("Message") or "AWS gives no reason"
                raise Failed(f"{name} failed: {reason}. Mend the reason and run the playbook again.")
        pending = [_tags(item)["Name"] for item in ours if item["State"].lower() == "pending"]
        return not pending, f"pending ({', '.join(sorted(pending))})" if pending else "available"

    what = "NAT gateways and endpoints"
    wait_until(probe, timeout=params["wait_timeout"], pause=5, what=what, variable="wait_timeout", say=say)


def settle(aws: Aws, params: Mapping, current: Mapping, say: Say) -> bool:
    """Wait for what a run that was stopped left pending. A plan made meanwhile is right: nothing to describe again."""
    if params["state"] == "present" and current.get("pending"):
        _wait_available(aws, params, current["ids"][VPC, f"{params['name']}-vpc"], say)
    return False


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Everything is available when ``settle`` and ``apply`` are done."""


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    if given(params):
        return _output_given(aws, params, current)
    wanted: dict[Key, dict[str, Any]] = {}
    if params["state"] == GATHERED:
        wanted = current["found"]
    elif params["state"] == "present":
        wanted = layout(params, current["zones"], aws.region)

    def item_id(key: Key) -> str:
        return current["ids"].get(key, unknown(*key))

    def items(kind: str) -> list[tuple[str, dict]]:
        return [
            (item_id(key), {"name": key[1], **predicted(current["found"].get(key, {}), fields)})
            for key, fields in wanted.items()
            if key[0] == kind
        ]

    vpc = (VPC, f"{params['name']}-vpc")
    return {
        "vpc": {
            "id": item_id(vpc) if wanted else None,
            "cidr_block": wanted.get(vpc, params)["cidr_block"],
            "managed": True,
        },
        "subnets": {
            tier: [
                {key: value for key, value in {"id": subnet_id, **fields}.items() if key in _SUBNET_OUTPUT}
                for subnet_id, fields in items(SUBNET)
                if fields["name"].startswith(f"{params['name']}-{tier}-")
            ]
            for tier in TIERS
        },
        "nat_gateways": [
            {
                "id": nat_id,
                "name": fields["name"],
                "public_ip": fields.get("public_ip") or unknown("address of", fields["name"]),
            }
            for nat_id, fields in items(NAT)
        ],
        "vpc_endpoints": [
            {
                "id": endpoint_id,
                "service": fields["name"].removeprefix(f"{params['name']}-"),
                "type": fields["type"],
            }
            for endpoint_id, fields in items(ENDPOINT)
        ],
    }


_SUBNET_OUTPUT = ("id", "name", "availability_zone", "cidr_block")


def _output_given(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    vpc = current["vpcs"][0] if len(current["vpcs"]) == 1 else {}
    tiers: dict[str, list] = {tier: [] for tier in TIERS}
    chosen = any(params[f"{tier}_subnet_{what}"] for tier in TIERS for what in ("ids", "tags"))
    if params["state"] == "present" or (params["state"] == GATHERED and vpc and chosen):
        tiers = chosen_subnets(params, current, aws.region)
    return {
        "vpc": {"id": vpc.get("VpcId"), "cidr_block": vpc.get("CidrBlock"), "managed": False},
        "subnets": {
            tier: [
                {
                    "id": subnet["SubnetId"],
                    "name": _tags(subnet).get("Name", subnet["SubnetId"]),
                    "availability_zone": subnet["AvailabilityZone"],
                    "cidr_block": subnet["CidrBlock"],
                }
                for subnet in subnets
            ]
            for tier, subnets in tiers.items()
        },
        "nat_gateways": [],
        "vpc_endpoints": [],
    }


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    if given(params):
        return []
    wanted = layout(params, current["zones"], aws.region)
    groups = _groups(params, current, True)["security_groups"] if _has_interfaces(wanted) else []
    return [*map(resource, wanted), *(ec2_security_groups.resource(group["name"]) for group in groups)]


def billed(aws: Aws, params: Mapping, current: Mapping, wanted: bool) -> list[dict[str, Any]]:
    if given(params):
        return []
    items = layout(params, current["zones"], aws.region) if wanted else current["found"]
    nats = [{"kind": "nat_gateway", "resource": resource(key)} for key in sorted(items) if key[0] == NAT]
    endpoints = [
        {"kind": "vpc_endpoint", "resource": resource(key), "zones": len(fields["subnets"])}
        for key, fields in sorted(items.items(), key=lambda item: item[0])
        if key[0] == ENDPOINT and fields["type"] == "Interface"
    ]
    return [*nats, *endpoints]
