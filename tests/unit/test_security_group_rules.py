from ansible_collections.nexus_learn.aws.plugins.module_utils.ec2_security_groups import Rule, rules_of
from hypothesis import given
from hypothesis import strategies as st

PEERS = {
    "IpRanges": st.sampled_from(["10.0.0.0/8", "0.0.0.0/0", "192.168.1.0/24"]),
    "Ipv6Ranges": st.sampled_from(["::/0", "fd00::/8"]),
    "UserIdGroupPairs": st.sampled_from(["worker", "redis", "sg-0123"]),
    "PrefixListIds": st.just("pl-0123"),
}
IDS = {"worker": "sg-1", "redis": "sg-2"}


@st.composite
def rules(draw):
    peer_list = draw(st.sampled_from(sorted(PEERS)))
    protocol = draw(st.sampled_from(["tcp", "udp", "-1"]))
    ports = sorted(draw(st.tuples(st.integers(0, 65535), st.integers(0, 65535)))) if protocol != "-1" else (None, None)
    return Rule(protocol, *ports, peer_list, draw(PEERS[peer_list]))


@given(rules(), st.sampled_from(["", "a description"]))
def test_what_is_sent_reads_the_same(rule, description):
    permission = rule.permission(description, IDS)
    ((read, text, own),) = rules_of([permission], {group: name for name, group in IDS.items()})
    assert (read, text, own) == (rule, description, permission)


@given(st.lists(rules(), max_size=8))
def test_however_aws_groups_the_rules_they_are_the_same(wanted):
    """AWS answers with one IpPermission per protocol and ports, whatever was sent."""
    merged: dict = {}
    for rule in wanted:
        permission = rule.permission("", IDS)
        place = merged.setdefault(
            (rule.protocol, rule.from_port, rule.to_port), {"IpProtocol": rule.protocol, **permission}
        )
        place.setdefault(rule.peer_list, [])
        place[rule.peer_list] = [*place[rule.peer_list], *permission[rule.peer_list]]
    names = {group: name for name, group in IDS.items()}
    assert {rule for rule, _, _ in rules_of(list(merged.values()), names)} == set(wanted)


@given(rules(), rules())
def test_keys_tell_rules_apart(one, other):
    assert (one.key("ingress") == other.key("ingress")) == (one == other)
