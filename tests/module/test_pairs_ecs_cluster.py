"""Pairs of a cluster before and after: what a check says is what a run does."""

from itertools import count

from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
PROVIDERS = ["FARGATE", "FARGATE_SPOT"]
KEYS = st.sampled_from([f"arn:aws:kms:us-east-1:123456789012:key/{digit * 8}" for digit in "12"])


def some(**fields):
    return st.fixed_dictionaries({}, optional=fields)


STRATEGY = st.lists(
    st.fixed_dictionaries(
        {"capacity_provider": st.sampled_from(PROVIDERS), "weight": st.integers(1, 3)},
        optional={"base": st.integers(0, 2)},
    ),
    max_size=2,
    unique_by=lambda item: item["capacity_provider"],
)
LOGS = some(
    cloud_watch_log_group_name=st.sampled_from(["/a", "/b"]),
    cloud_watch_encryption_enabled=st.booleans(),
    s3_bucket_name=st.sampled_from(["a", "b"]),
    s3_encryption_enabled=st.booleans(),
    s3_key_prefix=st.sampled_from(["", "a"]),
)
COMMAND = st.one_of(
    some(kms_key_id=KEYS, logging=st.sampled_from(["NONE", "DEFAULT"])),
    st.fixed_dictionaries({"logging": st.just("OVERRIDE"), "log_configuration": LOGS}, optional={"kms_key_id": KEYS}),
)
ARGUMENTS = st.fixed_dictionaries(
    {
        "tags": st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", ""])).map(
            lambda more: OWNER | more
        )
    },
    optional={
        # now and then one provider only, which a strategy may not go with: that is refused
        "capacity_providers": st.sampled_from([PROVIDERS, PROVIDERS[::-1], PROVIDERS, ["FARGATE"]]),
        "default_capacity_provider_strategy": STRATEGY,
        "container_insights": st.sampled_from(["enabled", "enhanced", "disabled"]),
        "execute_command_configuration": COMMAND,
        "managed_storage_configuration": some(kms_key_id=KEYS, fargate_ephemeral_storage_kms_key_id=KEYS),
        "service_connect_defaults": st.fixed_dictionaries({"namespace": st.sampled_from(["pairs-a", "pairs-b", ""])}),
        "state": st.sampled_from(["present", "present", "present", "absent"]),
    },
)
EXAMPLE = count()


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS)
def test_pairs(module, calls, before, after):
    name = {"name": f"pairs-{next(EXAMPLE)}"}
    # a strategy needs providers, also in what is there before
    before = {"capacity_providers": PROVIDERS, **before}
    if len(before["capacity_providers"]) < len(PROVIDERS):
        before = {**before, "default_capacity_provider_strategy": []}
    event(pair(module, calls, "ecs_cluster", before | name, after | name))
