"""Every option of ec2_security_groups: changed by hand, seen as exactly that rule, mended, nothing else moved."""

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE = "ec2_security_groups"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
ELSEWHERE = {"CidrIp": "203.0.113.0/24"}
LABEL = "security group d-redis"


def arguments(vpc_id, prefix_list):
    rules = {
        name: [
            {"protocol": "tcp", "from_port": 6379, "to_port": 6380, peers: ["d-worker"], "description": "the queue"},
            {"protocol": "tcp", "from_port": 443, "to_port": 443, "prefix_list_ids": [prefix_list]},
            {"protocol": "udp", "from_port": 53, "to_port": 53, "cidr_blocks": ["10.7.0.0/16", "fd00::/8"]},
            {"protocol": "icmp", "from_port": 8, "cidr_blocks": ["10.7.0.0/16"], "description": "ping"},
        ]
        for name, peers in (("ingress", "source_security_groups"), ("egress", "destination_security_groups"))
    }
    groups = [{"name": "d-redis", **rules}, {"name": "d-worker", "egress": []}, {"name": "d-plain"}]
    return {"vpc_id": vpc_id, "security_groups": groups, "tags": TAGS}


class Network:
    """A VPC with a prefix list, and ways to change the rules of d-redis by hand."""

    def __init__(self, ec2):
        self.ec2 = ec2
        self.vpc_id = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
        lists = [{"PrefixListName": name, "MaxEntries": 1, "AddressFamily": "IPv4"} for name in ("d-one", "d-other")]
        self.prefix_lists = [ec2.create_managed_prefix_list(**one)["PrefixList"]["PrefixListId"] for one in lists]
        self.arguments = arguments(self.vpc_id, self.prefix_lists[0])
        self.deployed = False

    def groups(self):
        found = self.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [self.vpc_id]}])
        return {group["GroupName"]: group for group in found["SecurityGroups"]}

    def snapshot(self):
        """All of the groups but the id, which is another when one was deleted; rules have no order."""
        result = {}
        for name, group in self.groups().items():
            rules = {
                (key, rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"), str(sorted(peer.items())))
                for key in ("IpPermissions", "IpPermissionsEgress")
                for rule in group[key]
                for peers in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
                for peer in rule.get(peers, [])
            }
            tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", [])}
            result[name] = (group["Description"], group["VpcId"], rules, tags)
        return result

    def rule(self, protocol, first, last, peers, peer):
        return {"IpProtocol": protocol, "FromPort": first, "ToPort": last, peers: [peer]}

    def queue(self, protocol="tcp", first=6379, last=6380):
        worker = {"GroupId": self.groups()["d-worker"]["GroupId"], "Description": "the queue"}
        return self.rule(protocol, first, last, "UserIdGroupPairs", worker)

    def call(self, operation, direction, rule):
        call = getattr(self.ec2, f"{operation}_{direction}")
        call(GroupId=self.groups()["d-redis"]["GroupId"], IpPermissions=[rule])

    def swap(self, direction, old, new):
        self.call("revoke_security_group", direction, old)
        self.call("authorize_security_group", direction, new)

    def describe(self, direction, rule):
        self.call("update_security_group_rule_descriptions", direction, rule)


@pytest.fixture(scope="module")
def network(sandbox):
    return Network(sandbox.client("ec2"))


def rules(direction, word):
    """Cases of one direction; ``word`` is how a rule of it names its peer."""
    queue, group = f"{direction}.tcp 6379-6380 {word} d-worker", f"security_groups.{direction}"
    peers = {"ingress": "source_security_groups", "egress": "destination_security_groups"}[direction]

    def swap(**new):
        return lambda net: net.swap(direction, net.queue(), net.queue(**new))

    return {
        f"{group}.protocol": (
            swap(protocol="udp"),
            {(LABEL, queue), (LABEL, f"{direction}.udp 6379-6380 {word} d-worker")},
        ),
        f"{group}.from_port": (
            swap(first=6378),
            {(LABEL, queue), (LABEL, f"{direction}.tcp 6378-6380 {word} d-worker")},
        ),
        f"{group}.to_port": (swap(last=6379), {(LABEL, queue), (LABEL, f"{direction}.tcp 6379 {word} d-worker")}),
        f"{group}.cidr_blocks": (
            lambda net: net.call("authorize_security_group", direction, net.rule("tcp", 22, 22, "IpRanges", ELSEWHERE)),
            {(LABEL, f"{direction}.tcp 22 {word} 203.0.113.0/24")},
        ),
        f"{group}.cidr_blocks of IPv6 removed": (
            lambda net: net.call(
                "revoke_security_group", direction, net.rule("udp", 53, 53, "Ipv6Ranges", {"CidrIpv6": "fd00::/8"})
            ),
            {(LABEL, f"{direction}.udp 53 {word} fd00::/8")},
        ),
        f"{group}.{peers}": (
            lambda net: net.call("revoke_security_group", direction, net.queue()),
            {(LABEL, queue)},
        ),
        f"{group}.prefix_list_ids": (
            lambda net: net.swap(
                direction,
                *(net.rule("tcp", 443, 443, "PrefixListIds", {"PrefixListId": one}) for one in net.prefix_lists),
            ),
            lambda net: {(LABEL, f"{direction}.tcp 443 {word} {one}") for one in net.prefix_lists},
        ),
        f"{group}.description": (
            lambda net: net.describe(
                direction, net.rule("icmp", 8, -1, "IpRanges", {"CidrIp": "10.7.0.0/16", "Description": "changed"})
            ),
            {(LABEL, f"{direction}.icmp type 8 {word} 10.7.0.0/16")},
        ),
        f"{group}.description removed": (
            lambda net: net.describe(
                direction,
                {**net.queue(), "UserIdGroupPairs": [{"GroupId": net.groups()["d-worker"]["GroupId"]}]},
            ),
            {(LABEL, queue)},
        ),
    }


def add(protocol, first, last, peers, peer):
    return lambda net: net.call("authorize_security_group", "ingress", net.rule(protocol, first, last, peers, peer))


# once is enough of what does not depend on the direction
MORE = {
    "security_groups.ingress.protocol icmp": (
        add("icmp", 13, -1, "IpRanges", ELSEWHERE),
        {(LABEL, "ingress.icmp type 13 from 203.0.113.0/24")},
    ),
    "security_groups.ingress.protocol all": (
        lambda net: net.call("authorize_security_group", "ingress", {"IpProtocol": "-1", "IpRanges": [ELSEWHERE]}),
        {(LABEL, "ingress.all from 203.0.113.0/24")},
    ),
    "security_groups.ingress.protocol of no name": (
        lambda net: net.call("authorize_security_group", "ingress", {"IpProtocol": "50", "IpRanges": [ELSEWHERE]}),
        {(LABEL, "ingress.50 from 203.0.113.0/24")},
    ),
    "security_groups.ingress.cidr_blocks of IPv6": (
        add("tcp", 22, 22, "Ipv6Ranges", {"CidrIpv6": "::/0"}),
        {(LABEL, "ingress.tcp 22 from ::/0")},
    ),
    "security_groups.ingress.prefix_list_ids described": (
        lambda net: net.describe(
            "ingress",
            net.rule("tcp", 443, 443, "PrefixListIds", {"PrefixListId": net.prefix_lists[0], "Description": "x"}),
        ),
        lambda net: {(LABEL, f"ingress.tcp 443 from {net.prefix_lists[0]}")},
    ),
}


def tag(net, operation, **tag):
    getattr(net.ec2, operation)(Resources=[net.groups()["d-redis"]["GroupId"]], Tags=[tag])


# option -> (what somebody does by hand, what a check says of it)
CASES = {
    "security_groups.name": (
        lambda net: net.ec2.delete_security_group(GroupId=net.groups()["d-plain"]["GroupId"]),
        {("security group d-plain", "create")},
    ),
    **rules("ingress", "from"),
    **rules("egress", "to"),
    **MORE,
    "tags": (lambda net: tag(net, "create_tags", Key="more", Value="yes"), {(LABEL, "tags.more")}),
    "tags removed": (lambda net: tag(net, "delete_tags", Key="ManagedBy"), {(LABEL, "tags.ManagedBy")}),
}
NO_FIELD = {
    "vpc_id": "says where the groups are; AWS moves none",
    "security_groups.description": "AWS never changes it; another one that is asked for is refused",
    "state": "says whether there are to be any at all",
    "wait_timeout": "says how long to wait",
}


@pytest.mark.parametrize(("change", "expected"), drift_cases(CASES))
def test_drift(module, network, change, expected):
    if not network.deployed:
        module(MODULE, network.arguments)
    network.deployed = False  # until it is as it was
    expected = expected(network) if callable(expected) else expected
    drifts(module, MODULE, network.arguments, network.snapshot, lambda: change(network), expected)
    network.deployed = True


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, arguments("vpc-1", "pl-1"))
