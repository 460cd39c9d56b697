"""Every option of ecr_repository: changed by hand, seen as exactly that field, mended, nothing else moved."""

import json

import pytest
from generated import drift_cases, drifts, every_option_drifts

MODULE, NAME = "ecr_repository", "drift/repository"
LABEL = f"ECR repository {NAME}"
TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}


def policy(account="210987654321"):
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": ["ecr:BatchGetImage", "ecr:ListImages"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
ARGUMENTS = {
    "name": NAME,
    "image_tag_mutability": "IMMUTABLE_WITH_EXCLUSION",
    "image_tag_mutability_exclusion_filters": ["latest", "dev-*"],
    "scan_on_push": True,
    "encryption": {"encryption_type": "KMS", "kms_key": KEY},
    "lifecycle_policy": [
        {
            "description": "releases",
            "tag_status": "tagged",
            "tag_pattern_list": ["v*", "*-release"],
            "count_type": "imageCountMoreThan",
            "count_number": 100,
        },
        {
            "tag_status": "tagged",
            "tag_prefix_list": ["dev-"],
            "count_type": "sinceImagePushed",
            "count_number": 30,
            "action": "transition",
        },
        {
            "tag_status": "untagged",
            "storage_class": "archive",
            "count_type": "sinceImageTransitioned",
            "count_number": 90,
        },
    ],
    "policy": policy(),
    "tags": TAGS,
}


def put(method, **arguments):
    return lambda ecr: getattr(ecr, method)(repositoryName=NAME, **arguments)


def mutability(kind, *filters):
    return put(
        "put_image_tag_mutability",
        imageTagMutability=kind,
        **(
            {"imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": one} for one in filters]}
            if filters
            else {}
        ),
    )


def rewritten(change):
    """The lifecycle policy after ``change(rules)``."""

    def write(ecr):
        rules = json.loads(ecr.get_lifecycle_policy(repositoryName=NAME)["lifecyclePolicyText"])["rules"]
        ecr.put_lifecycle_policy(repositoryName=NAME, lifecyclePolicyText=json.dumps({"rules": change(rules) or rules}))

    return write


def selects(place, **changes):
    """Rule ``place`` with another selection; without the field for None."""

    def change(rules):
        selection = rules[place - 1]["selection"] | changes
        rules[place - 1]["selection"] = {name: value for name, value in selection.items() if value is not None}

    return rewritten(change)


def other(place, **changes):
    return rewritten(lambda rules: rules[place - 1].update(changes))


def tagged(**tags):
    return lambda ecr: ecr.tag_resource(
        resourceArn=f"arn:aws:ecr:us-east-1:123456789012:repository/{NAME}",
        tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )


RULES = "lifecycle_policy"
FIELDS = (
    *("description", "tag_status", "tag_pattern_list", "tag_prefix_list", "storage_class", "count_type"),
    *("count_number", "action"),
)
EXTRA = {
    "rulePriority": 9,
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 999},
    "action": {"type": "expire"},
}

# option -> (what somebody does by hand, which fields a check names)
CASES = {
    "image_tag_mutability": (
        mutability("MUTABLE_WITH_EXCLUSION", "latest", "dev-*"),
        {"image_tag_mutability"},
    ),
    "image_tag_mutability removed": (
        mutability("MUTABLE"),
        {"image_tag_mutability", "image_tag_mutability_exclusion_filters"},
    ),
    "image_tag_mutability_exclusion_filters": (
        mutability("IMMUTABLE_WITH_EXCLUSION", "latest", "dev-*", "*"),
        {"image_tag_mutability_exclusion_filters"},
    ),
    "image_tag_mutability_exclusion_filters removed": (
        mutability("IMMUTABLE_WITH_EXCLUSION", "latest"),
        {"image_tag_mutability_exclusion_filters"},
    ),
    "scan_on_push": (
        put("put_image_scanning_configuration", imageScanningConfiguration={"scanOnPush": False}),
        {"scan_on_push"},
    ),
    f"{RULES}.description": (other(1, description="other"), {f"{RULES}.1.description"}),
    f"{RULES}.tag_status": (
        selects(2, tagStatus="untagged", tagPrefixList=None),
        {f"{RULES}.2.tag_status", f"{RULES}.2.tag_prefix_list"},
    ),
    f"{RULES}.tag_pattern_list": (selects(1, tagPatternList=["v*"]), {f"{RULES}.1.tag_pattern_list"}),
    f"{RULES}.tag_prefix_list": (selects(2, tagPrefixList=["dev-", "x"]), {f"{RULES}.2.tag_prefix_list"}),
    f"{RULES}.storage_class": (selects(1, storageClass="archive"), {f"{RULES}.1.storage_class"}),
    f"{RULES}.count_type": (selects(2, countType="sinceImagePulled"), {f"{RULES}.2.count_type"}),
    f"{RULES}.count_number": (selects(1, countNumber=101), {f"{RULES}.1.count_number"}),
    f"{RULES}.action": (other(2, action={"type": "expire"}), {f"{RULES}.2.action"}),
    f"{RULES}.count_number added": (rewritten(lambda rules: [*rules, EXTRA]), {f"{RULES}.4"}),
    f"{RULES}.count_number removed": (
        put("delete_lifecycle_policy"),
        {f"{RULES}.{place}.{field}" for place in (1, 2, 3) for field in FIELDS},
    ),
    f"{RULES}.count_number last": (
        rewritten(lambda rules: rules[:2]),
        {f"{RULES}.3.{field}" for field in FIELDS},
    ),
    "policy": (
        put("set_repository_policy", policyText=json.dumps(policy("1" * 12))),
        {"policy.Statement.Principal.AWS"},
    ),
    "policy removed": (
        put("delete_repository_policy"),
        {"policy.Version", *(f"policy.Statement.{path}" for path in ("Effect", "Principal.AWS", "Action"))},
    ),
    "tags": (tagged(Project="nexus-learn", a="b"), {"tags.a"}),
    "name": (put("delete_repository", force=True), {"create"}),
}
NO_FIELD = {
    "encryption.encryption_type": "AWS never changes it; test_ecr_repository.py has the replacement",
    "encryption.kms_key": "the same",
    "replace": "allows a replacement",
    "force": "what state absent may delete",
    "state": "says whether there is to be one at all",
}


@pytest.fixture(scope="module")
def ecr(sandbox):
    return sandbox.client("ecr")


READS = {"lifecycle": "get_lifecycle_policy", "policy": "get_repository_policy"}


@pytest.mark.parametrize(("change", "fields"), drift_cases(CASES))
def test_drift(module, ecr, change, fields):
    module(MODULE, ARGUMENTS)

    def read(operation):
        try:
            answer = getattr(ecr, operation)(repositoryName=NAME)
        except ecr.exceptions.ClientError as error:
            return error.response["Error"]["Code"]
        return json.loads(next(answer[key] for key in ("lifecyclePolicyText", "policyText") if key in answer))

    def snapshot():
        found = [one for one in ecr.describe_repositories()["repositories"] if one["repositoryName"] == NAME]
        for one in found:
            del one["createdAt"]
            one.get("imageTagMutabilityExclusionFilters", []).sort(key=str)
        tags = [ecr.list_tags_for_resource(resourceArn=one["repositoryArn"])["tags"] for one in found]
        return found, [sorted(one, key=str) for one in tags], {key: read(operation) for key, operation in READS.items()}

    drifts(module, MODULE, ARGUMENTS, snapshot, lambda: change(ecr), {(LABEL, field) for field in fields})


def test_every_option_has_a_case():
    every_option_drifts(MODULE, CASES, NO_FIELD, ARGUMENTS)
