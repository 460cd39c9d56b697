"""Pairs of a repository before and after: what a check says is what a run does."""

from itertools import count

from generated import PAIRS, pair
from hypothesis import event, given
from hypothesis import strategies as st

OWNER = {"Project": "nexus-learn", "Environment": "test"}
KEYS = st.sampled_from(["", *(f"arn:aws:kms:us-east-1:123456789012:key/{digit * 8}" for digit in "12")])
EXAMPLE = count()


def some(required=(), **fields):
    """A dictionary with the required ones of the fields, and any of the others."""
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


MUTABILITY = st.one_of(
    st.just({}),
    some(["image_tag_mutability"], image_tag_mutability=st.sampled_from(["MUTABLE", "IMMUTABLE"])),
    st.fixed_dictionaries(
        {
            "image_tag_mutability": st.sampled_from(["MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"]),
            "image_tag_mutability_exclusion_filters": st.lists(
                st.sampled_from(["latest", "dev-*", "v*"]), min_size=1, unique=True
            ),
        }
    ),
)
ENCRYPTION = st.one_of(
    st.just({}), some(["encryption_type"], encryption_type=st.sampled_from(["KMS", "KMS_DSSE"]), kms_key=KEYS)
)
SELECTED = st.one_of(
    st.just({"tag_status": "untagged"}),
    *(
        st.fixed_dictionaries(
            {
                "tag_status": st.just("tagged"),
                name: st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True),
            }
        )
        for name, values in (("tag_pattern_list", ["*", "v*"]), ("tag_prefix_list", ["v", "dev-"]))
    ),
)
COUNTED = st.one_of(
    st.fixed_dictionaries(
        {
            "count_type": st.sampled_from(["imageCountMoreThan", "sinceImagePushed"]),
            "action": st.sampled_from(["expire", "transition"]),
        }
    ),
    st.just({"count_type": "sinceImagePulled", "action": "transition"}),
    st.just({"count_type": "sinceImageTransitioned", "storage_class": "archive"}),
)
RULE = st.builds(
    lambda selected, counted, more: {**selected, **counted, **more},
    SELECTED,
    COUNTED,
    some(["count_number"], count_number=st.integers(90, 92), description=st.sampled_from(["", "a"])),
)
LAST = {"tag_status": "any", "count_type": "imageCountMoreThan", "count_number": 5}
RULES = st.builds(lambda rules, last: [*rules, *([LAST] if last else [])], st.lists(RULE, max_size=3), st.booleans())
STATEMENT = some(
    ["Effect", "Principal", "Action"],
    Sid=st.sampled_from(["a", "b"]),
    Effect=st.just("Allow"),
    Principal=st.sampled_from(["*", {"AWS": "arn:aws:iam::{account_id}:root"}, {"AWS": ["123456789012"]}]),
    Action=st.one_of(
        st.just("ecr:*"), st.lists(st.sampled_from(["ecr:ListImages", "ecr:PutImage"]), min_size=1, unique=True)
    ),
)
POLICY = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "Version": st.just("2012-10-17"),
            "Statement": st.one_of(STATEMENT, st.lists(STATEMENT, min_size=1, max_size=2)),
        }
    ),
)
ARGUMENTS = st.builds(
    lambda mutability, fields: {**mutability, **fields},
    MUTABILITY,
    some(
        ["tags"],
        scan_on_push=st.booleans(),
        encryption=ENCRYPTION,
        lifecycle_policy=RULES,
        policy=POLICY,
        tags=st.dictionaries(st.sampled_from(["Team", "Cost"]), st.sampled_from(["a", "b", ""])).map(
            lambda tags: {**OWNER, **tags}
        ),
    ),
)


@PAIRS
@given(before=ARGUMENTS, after=ARGUMENTS, replace=st.booleans())
def test_pairs(module, calls, before, after, replace):
    name = f"pairs-{next(EXAMPLE)}"
    allowed = {"replace": name} if replace else {}
    event(pair(module, calls, "ecr_repository", {**before, "name": name}, {**after, **allowed, "name": name}))
