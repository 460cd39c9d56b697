"""The filters of the collection."""

import pytest
from ansible_collections.nexus_learn.aws.plugins.filter.left_out import left_out

NEEDS = {"redis": ["network"], "workers": ["network", "redis"], "outputs": ["network", "redis"]}


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "read"),
    [
        (["all"], [], []),
        (["workers"], [], ["network", "redis"]),
        (["workers", "network"], [], ["redis"]),
        (["redis"], [], ["network"]),
        (["network"], [], []),
        (["autoscaling"], [], []),
        (["all"], ["network"], ["network"]),
        (["all"], ["redis", "workers", "outputs"], []),
        (["tagged"], ["redis"], ["redis"]),
    ],
)
def test_what_a_run_leaves_out_and_needs(run_tags, skip_tags, read):
    assert left_out(NEEDS, run_tags, skip_tags) == read
