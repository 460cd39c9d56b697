"""Pairs of dashboards before and after: what a check says is what a run does."""

from itertools import count

from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
TAGS = st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
    lambda more: OWNER | more
)
SCALARS = st.one_of(
    st.integers(0, 3), st.sampled_from(["a", "b"]), st.booleans(), st.lists(st.integers(0, 2), max_size=2)
)
PROPERTIES = st.dictionaries(
    st.sampled_from(["title", "metrics", "annotations"]),
    SCALARS | st.lists(st.dictionaries(st.sampled_from("xy"), SCALARS), max_size=2),
)
WIDGET = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "metric"]), "properties": PROPERTIES}, optional={"width": st.integers(1, 24)}
)
BODY = st.fixed_dictionaries(
    {"widgets": st.lists(WIDGET, max_size=3)}, optional={"start": st.sampled_from(["-PT3H", "-P1D"])}
)
ARGUMENTS = st.fixed_dictionaries(
    {"dashboards": st.dictionaries(st.sampled_from("abc"), BODY, min_size=1), "tags": TAGS},
    optional={"state": st.sampled_from(["present", "present", "absent"])},
)
EXAMPLE = count()


def named(arguments, example):
    dashboards = [{"name": f"pairs-{example}-{name}", "body": body} for name, body in arguments["dashboards"].items()]
    return {**arguments, "dashboards": dashboards}


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS)
def test_pairs(module, calls, before, after):
    example = next(EXAMPLE)
    event(pair(module, calls, "cloudwatch_dashboards", named(before, example), named(after, example)))
