"""Pairs of log groups before and after: what a check says is what a run does."""

from itertools import count

from ansible_collections.nexus_learn.aws.plugins.module_utils.cloudwatch_log_groups import RETENTION_DAYS
from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
TAGS = st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
    lambda more: OWNER | more
)
KEYS = st.sampled_from(["", *(f"arn:aws:kms:us-east-1:123456789012:key/{digit * 8}" for digit in "12")])
GROUP = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "ab", "b/c", "b/d"])},
    optional={
        "retention_in_days": st.sampled_from([0, *RETENTION_DAYS]),
        "kms_key_id": KEYS,
        "log_group_class": st.sampled_from(["STANDARD", "STANDARD", "STANDARD", "INFREQUENT_ACCESS"]),
        "deletion_protection_enabled": st.sampled_from([False, False, False, True]),
    },
)
ARGUMENTS = st.fixed_dictionaries(
    {"log_groups": st.lists(GROUP, unique_by=lambda group: group["name"], min_size=1), "tags": TAGS},
    optional={"state": st.sampled_from(["present", "present", "absent"])},
)
EXAMPLE = count()


def named(arguments, example):
    groups = [{**group, "name": f"/pairs/{example}/{group['name']}"} for group in arguments["log_groups"]]
    return {**arguments, "log_groups": groups}


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS)
def test_pairs(module, calls, before, after):
    example = next(EXAMPLE)
    event(pair(module, calls, "cloudwatch_log_groups", named(before, example), named(after, example)))
