"""Cache subnet groups."""

from botocore.exceptions import ClientError
from moto.core.responses import ActionResult, EmptyResult

from .base import Base, Fault, by_name, checked_tags, combination, identifier
from .service import Group, SubnetGroup


class SubnetGroups(Base):
    def create_cache_subnet_group(self) -> ActionResult:
        p = self.params
        name = identifier(p["CacheSubnetGroupName"], "CacheSubnetGroupName", 255)
        vpc_id, zones = self._subnets(p["SubnetIds"])
        return ActionResult({"CacheSubnetGroup": _subnet_group_shape(self._add_subnet_group(
            name, p["CacheSubnetGroupDescription"], vpc_id, zones, checked_tags(p.get("Tags", []))))})  # fmt: skip

    def _add_subnet_group(self, name: str, description: str, vpc_id: str, zones: dict, tags: dict) -> SubnetGroup:
        arn = self.service.arn(self.region, "subnetgroup", name)
        with self.service.lock:
            if name in self.state.subnet_groups:
                raise Fault("CacheSubnetGroupAlreadyExists", f"Cache subnet group {name} already exists.")
            group = self.state.subnet_groups[name] = SubnetGroup(name, description, arn, vpc_id, zones)
            self.state.tags[arn] = tags
        self.service.event(self.state, "cache-subnet-group", name, f"Cache subnet group {name} created")
        return group

    def modify_cache_subnet_group(self) -> ActionResult:
        p = self.params
        group = self._subnet_group(p["CacheSubnetGroupName"])
        if p.get("SubnetIds"):
            vpc_id, zones = self._subnets(p["SubnetIds"])
            if vpc_id != group.vpc_id:
                raise Fault("InvalidSubnet", f"The subnets are not in {group.vpc_id}, the VPC of the subnet group.")
            used = {m.zone for g in self._groups_in(group) for m in g.members}
            if not used <= set(zones.values()):
                raise Fault("SubnetInUse", f"Nodes are running in {', '.join(sorted(used - set(zones.values())))}.")
            group.zones = zones
        group.description = p.get("CacheSubnetGroupDescription", group.description)
        return ActionResult({"CacheSubnetGroup": _subnet_group_shape(group)})

    def describe_cache_subnet_groups(self) -> ActionResult:
        wanted = self.params.get("CacheSubnetGroupName")
        groups = [self._subnet_group(wanted)] if wanted else by_name(self.state.subnet_groups)
        groups, marker = self._page(groups, lambda group: group.name)
        return ActionResult({"CacheSubnetGroups": [_subnet_group_shape(group) for group in groups], **marker})

    def delete_cache_subnet_group(self) -> ActionResult:
        with self.service.lock:
            group = self._subnet_group(self.params["CacheSubnetGroupName"])
            users = [g.id for g in self._groups_in(group)]
            if users:
                raise Fault(
                    "CacheSubnetGroupInUse", f"Cache subnet group {group.name} is in use by {', '.join(users)}."
                )
            del self.state.subnet_groups[group.name]
            self.state.tags.pop(group.arn, None)
        return EmptyResult()

    def _groups_in(self, subnet_group: SubnetGroup) -> list[Group]:
        groups = by_name(self.state.groups)
        return [group for group in groups if group.settings["CacheSubnetGroupName"] == subnet_group.name]

    def _subnet_group(self, name: str) -> SubnetGroup:
        group = self.state.subnet_groups.get(name.lower())
        if group is None:
            raise Fault("CacheSubnetGroupNotFoundFault", f"Cache Subnet Group {name} does not exist.")
        return group

    def _subnet_group_for(self, name: str | None) -> SubnetGroup:
        """The group by its name; without one AWS takes `default`, made of the default VPC's subnets."""
        if name or "default" in self.state.subnet_groups:
            return self._subnet_group(name or "default")
        filters = [{"Name": "default-for-az", "Values": ["true"]}]
        found = self._ec2().describe_subnets(Filters=filters)["Subnets"]
        if not found:
            raise combination("There is no default VPC: a CacheSubnetGroupName is required.")
        zones = {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in found}
        return self._add_subnet_group("default", "Default CacheSubnetGroup", found[0]["VpcId"], zones, {})

    def _subnets(self, ids: list[str]) -> tuple[str, dict[str, str]]:
        """(VPC id, {subnet id: zone})."""
        try:
            found = self._ec2().describe_subnets(SubnetIds=ids)["Subnets"]
        except ClientError as error:
            raise Fault("InvalidSubnet", error.response["Error"]["Message"]) from None
        vpcs = {subnet["VpcId"] for subnet in found}
        if len(vpcs) != 1:
            raise Fault("InvalidSubnet", "The subnets must all be in one VPC.")
        return vpcs.pop(), {subnet["SubnetId"]: subnet["AvailabilityZone"] for subnet in found}


def _subnet_group_shape(group: SubnetGroup) -> dict:
    return {
        "CacheSubnetGroupName": group.name,
        "CacheSubnetGroupDescription": group.description,
        "VpcId": group.vpc_id,
        "Subnets": [
            {"SubnetIdentifier": name, "SubnetAvailabilityZone": {"Name": zone}, "SupportedNetworkTypes": ["ipv4"]}
            for name, zone in group.zones.items()
        ],
        "ARN": group.arn,
        "SupportedNetworkTypes": ["ipv4"],
    }
