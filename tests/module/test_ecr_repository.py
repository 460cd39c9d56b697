"""The repository of the application image, and any other."""

import json
import uuid

import pytest

TAGS = {"Project": "nexus-learn", "Environment": "test", "ManagedBy": "ansible"}
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


@pytest.fixture
def ecr(sandbox):
    return sandbox.client("ecr")


@pytest.fixture
def name():
    return f"team/app-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def args(name):
    return {
        "name": name,
        "image_tag_mutability": "IMMUTABLE",
        "scan_on_push": True,
        "encryption": {"encryption_type": "KMS"},
        "lifecycle_policy": [untagged(14), newest(100)],
        "policy": policy("arn:{partition}:iam::{account_id}:root"),
        "tags": TAGS,
    }


def newest(count, **more):
    rule = {"tag_status": "tagged", "tag_pattern_list": ["*"], "count_type": "imageCountMoreThan"}
    return {**rule, "count_number": count, **more}


def untagged(days, **more):
    return {"tag_status": "untagged", "count_type": "sinceImagePushed", "count_number": days, **more}


def policy(principal, **more):
    statement = {"Sid": "Pull", "Effect": "Allow", "Principal": {"AWS": principal}, "Action": PULL, **more}
    return {"Version": "2012-10-17", "Statement": [statement]}


def push(ecr, name, *tags):
    """An image with these tags, or without one."""
    manifest = {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "layers": [{"digest": f"sha256:{uuid.uuid4().hex * 2}"}],
    }
    for tag in tags or [None]:
        ecr.put_image(repositoryName=name, imageManifest=json.dumps(manifest), **({"imageTag": tag} if tag else {}))


def there(ecr, name):
    return ecr.describe_repositories(repositoryNames=[name])["repositories"][0]


def exists(ecr, name):
    return name in [one["repositoryName"] for one in ecr.describe_repositories()["repositories"]]


def test_create(quartet, ecr, args, name):
    result = quartet("ecr_repository", args)
    assert [change["action"] for change in result["changes"]] == ["create"]
    uri = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{name}"
    assert result["repository_uri"] == result["repository"]["repository_uri"] == uri
    found = there(ecr, name)
    assert found["repositoryUri"] == uri
    assert found["repositoryArn"] == result["repository"]["arn"]
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert found["encryptionConfiguration"]["encryptionType"] == "KMS"
    rules = json.loads(ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"])["rules"]
    assert [(rule["rulePriority"], rule["selection"]) for rule in rules] == [
        (1, {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}),
        (2, {"tagStatus": "tagged", "tagPatternList": ["*"], "countType": "imageCountMoreThan", "countNumber": 100}),
    ]
    document = json.loads(ecr.get_repository_policy(repositoryName=name)["policyText"])
    assert document["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}


def test_a_new_one_that_is_not_told_keeps_its_tags_and_one_that_is_there_stays(module, ecr, name):
    module("ecr_repository", {"name": name})
    assert there(ecr, name)["imageTagMutability"] == "IMMUTABLE"
    ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    assert module("ecr_repository", {"name": name})["changes"] == []


@pytest.mark.parametrize("kind", ["AES256", "KMS"])
def test_a_check_returns_what_a_run_returns_of_a_new_one(module, args, kind):
    for asked in ({"name": args["name"]}, {**args, "encryption": {"encryption_type": kind}}):
        foretold = module("ecr_repository", asked, check=True)["repository"]
        done = module("ecr_repository", asked)["repository"]
        for one in (foretold, done):
            key = one["encryption"].pop("kms_key")
            assert (key is None) == (one["encryption"]["encryption_type"] == "AES256")
        assert foretold == done
        module("ecr_repository", {"name": args["name"], "state": "absent"})


def test_another_region(quartet, sandbox, args, name):
    result = quartet("ecr_repository", {**args, "region": "eu-west-1"})
    assert result["repository_uri"] == f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{name}"
    assert there(sandbox.client("ecr", "eu-west-1"), name)["repositoryUri"] == result["repository_uri"]


def test_it_is_read_at_once_and_only_what_is_given(module, calls, args, name):
    module("ecr_repository", args)
    calls.clear()
    module("ecr_repository", args)
    reads = ["DescribeRepositories", "GetLifecyclePolicy", "GetRepositoryPolicy", "ListTagsForResource"]
    assert sorted(operation for service, operation in calls if service == "ecr") == reads
    calls.clear()
    module("ecr_repository", {"name": name, "tags": TAGS})
    assert sorted(operation for service, operation in calls if service == "ecr") == [reads[0], reads[3]]


def test_it_is_never_nobodys(module, stop_at, ecr, args, name):
    """Stopped right after CreateRepository, the next run finds its own and goes on."""
    stop_at("ecr_repository", "CreateRepository", args)
    assert module("ecr_repository", args, check=True)["changes"]
    assert {change["action"] for change in module("ecr_repository", args)["changes"]} == {"update"}
    assert module("ecr_repository", args)["changes"] == []


def test_each_setting_is_changed_and_taken_away(quartet, module, ecr, args, name):
    module("ecr_repository", args)
    changed = {
        **args,
        "image_tag_mutability": "IMMUTABLE_WITH_EXCLUSION",
        "image_tag_mutability_exclusion_filters": ["latest", "dev-*"],
        "scan_on_push": False,
        "lifecycle_policy": [untagged(7), newest(100, description="releases")],
        "policy": policy("arn:aws:iam::210987654321:root"),
        "tags": {**TAGS, "Team": "a"},
    }
    paths = {change["path"] for change in quartet("ecr_repository", changed)["changes"]}
    assert paths == {
        "image_tag_mutability",
        "image_tag_mutability_exclusion_filters",
        "scan_on_push",
        "lifecycle_policy.1.count_number",
        "lifecycle_policy.2.description",
        "policy.Statement.Principal.AWS",
        "tags.Team",
    }
    found = there(ecr, name)
    assert found["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    assert [one["filter"] for one in found["imageTagMutabilityExclusionFilters"]] == ["dev-*", "latest"]
    nothing = {**args, "lifecycle_policy": [], "policy": {}, "tags": {"Project": "nexus-learn"}}
    quartet("ecr_repository", nothing)
    assert "imageTagMutabilityExclusionFilters" not in there(ecr, name)
    for get in (ecr.get_lifecycle_policy, ecr.get_repository_policy):
        with pytest.raises(ecr.exceptions.ClientError, match="NotFoundException"):
            get(repositoryName=name)
    assert len(ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]) == 1


def test_what_means_the_same_is_no_difference(module, ecr, args, name):
    rule = newest(9) | {"tag_pattern_list": ["b*", "a*"]}
    filters = {"image_tag_mutability": "MUTABLE_WITH_EXCLUSION", "image_tag_mutability_exclusion_filters": ["v*", "r*"]}
    asked = {**args, **filters, "lifecycle_policy": [untagged(3), rule]}
    module("ecr_repository", asked)
    selection = {"tagPatternList": ["a*", "b*"], "tagStatus": "tagged", "countNumber": 9, "storageClass": "standard"}
    theirs = {
        "rules": [
            {
                "action": {"type": "expire"},
                "rulePriority": 40,
                "selection": {**selection, "countType": "imageCountMoreThan"},
            },
            {
                "rulePriority": 7,
                "description": "",
                "selection": {
                    "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 3
                },
                "action": {"type": "expire"},
            },
        ]
    }  # fmt: skip
    ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps(theirs, indent=2))
    document = policy("123456789012")
    document["Statement"][0]["Action"] = PULL[::-1]
    document["Statement"] = document["Statement"][0]
    ecr.set_repository_policy(repositoryName=name, policyText=json.dumps(document))
    assert module("ecr_repository", asked)["changes"] == []
    swapped = {**asked, "lifecycle_policy": asked["lifecycle_policy"][::-1]}
    assert module("ecr_repository", swapped, check=True)["changes"], "which rule comes first does count"


def notes(module, args, *rules):
    changes = module("ecr_repository", {**args, "lifecycle_policy": list(rules)})["changes"]
    return {change["path"]: change["note"] for change in changes if change["impact"] == "disruptive"}


GONE = "images that the rule selects are deleted for good within 24 hours"


def test_it_is_said_that_a_rule_will_take_more(module, args):
    module("ecr_repository", {**args, "lifecycle_policy": []})
    first, second = "lifecycle_policy.1.", "lifecycle_policy.2."
    assert notes(module, args, untagged(14)) == {f"{first}count_number": GONE}
    assert notes(module, args, untagged(20)) == {}
    assert notes(module, args, untagged(13)) == {f"{first}count_number": GONE}
    assert notes(module, args, untagged(13, description="a")) == {}
    archives = untagged(13, action="transition")
    assert notes(module, args, archives, newest(5)) == {
        f"{first}action": GONE.replace("deleted for good", "archived"),
        f"{second}count_number": GONE,
    }
    assert notes(module, args, archives, newest(5, tag_pattern_list=["v*"])) == {f"{second}tag_pattern_list": GONE}
    assert notes(module, args, archives) == {}
    assert notes(module, args) == {}


WRONG = [
    ({"image_tag_mutability": "MUTABLE_WITH_EXCLUSION"}, "needs image_tag_mutability_exclusion_filters"),
    ({"image_tag_mutability_exclusion_filters": ["v*"]}, "WITH_EXCLUSION only"),
    (
        {
            "image_tag_mutability": "MUTABLE_WITH_EXCLUSION",
            "image_tag_mutability_exclusion_filters": list("abcdef"),
        },
        "there are 6",
    ),
    (
        {"image_tag_mutability": "MUTABLE_WITH_EXCLUSION", "image_tag_mutability_exclusion_filters": ["a b"]},
        "'a b'",
    ),
    ({"encryption": {"kms_key": KEY}}, "AES256 has no kms_key"),
    ({"encryption": {"encryption_type": "KMS", "kms_key": "alias/a"}}, "Give the ARN"),
    *(
        ({"lifecycle_policy": rules}, said)
        for rules, said in (
            ([untagged(0)], "1 is the least"),
            ([newest(1, tag_pattern_list=[])], "needs one of tag_pattern_list"),
            ([newest(1, tag_prefix_list=["v"])], "needs one of tag_pattern_list"),
            ([untagged(1, tag_prefix_list=["v"])], "goes with tag_status tagged only"),
            ([newest(1, tag_pattern_list=["*a*b*c*d*"])], "more than 4 wildcards"),
            ([newest(1, tag_status="any", tag_pattern_list=None), untagged(1)], "Put it last"),
            ([untagged(1, count_type="sinceImagePulled")], "transition only"),
            ([untagged(90, count_type="sinceImageTransitioned")], "storage_class archive only"),
            ([untagged(89, count_type="sinceImageTransitioned", storage_class="archive")], "90 days at least"),
        )
    ),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG)
def test_what_ecr_would_refuse_is_refused_before_anything_is_done(module, args, calls, wrong, said):
    for check in (True, False):
        result = module("ecr_repository", {**args, **wrong}, check=check, expect_failure=True)
        assert result["refused"]
        assert said in result["msg"]
    assert calls.writes == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"encryption_type": "AES256"}, {"encryption_type": "KMS", "kms_key": KEY}),
        ({"encryption_type": "AES256"}, {"encryption_type": "KMS"}),
        ({"encryption_type": "KMS", "kms_key": KEY}, {"encryption_type": "AES256"}),
        ({"encryption_type": "KMS", "kms_key": KEY}, {"encryption_type": "KMS", "kms_key": KEY.replace("1", "2")}),
    ],
)
def test_another_encryption_takes_another_repository_which_is_refused(module, calls, ecr, args, name, before, after):
    module("ecr_repository", {**args, "encryption": before})
    push(ecr, name, "1", "latest")
    push(ecr, name, "2")
    calls.clear()
    wanted = {**args, "encryption": after, "scan_on_push": False}
    for check in (True, False):
        for given in ({}, {"replace": "another"}):
            result = module("ecr_repository", {**wanted, **given}, check=check, expect_failure=True)
            assert result["refused"]
            assert "2 images in it would be lost" in result["msg"]
            assert f"-e ecr_repository_replace={name}" in result["msg"]
    assert calls.writes == []
    assert len(ecr.describe_images(repositoryName=name)["imageDetails"]) == 2

    allowed = {**wanted, "replace": name}
    foretold = module("ecr_repository", allowed, check=True)["changes"]
    done = module("ecr_repository", allowed)["changes"]
    assert [change["path"] for change in foretold] == [change["path"] for change in done]
    assert {(change["action"], change["impact"]) for change in done} == {("replace", "replacement")}
    assert {change["note"] for change in done} == {"it is deleted, with 2 images, and made anew"}
    assert there(ecr, name)["encryptionConfiguration"]["encryptionType"] == after["encryption_type"]
    assert ecr.describe_images(repositoryName=name)["imageDetails"] == []
    for again in (allowed, wanted):
        assert module("ecr_repository", again)["changes"] == []


def test_a_replacement_keeps_what_is_not_asked_for(module, ecr, args, name):
    filters = {"image_tag_mutability": "MUTABLE_WITH_EXCLUSION", "image_tag_mutability_exclusion_filters": ["v*"]}
    module("ecr_repository", {**args, **filters})
    before = there(ecr, name)
    rules = ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"]
    module("ecr_repository", {"name": name, "encryption": {}, "replace": name})
    after = there(ecr, name)
    assert (before.pop("encryptionConfiguration"), after.pop("encryptionConfiguration")) != ({}, {})
    del before["createdAt"], after["createdAt"]
    assert after == before
    assert json.loads(ecr.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"]) == json.loads(rules)
    assert module("ecr_repository", {**args, **filters, "encryption": {}})["changes"] == []


def test_kms_without_a_key_takes_what_is_there(module, args):
    module("ecr_repository", {**args, "encryption": {"encryption_type": "KMS", "kms_key": KEY}})
    result = module("ecr_repository", args)
    assert result["changes"] == []
    assert result["repository"]["encryption"] == {"encryption_type": "KMS", "kms_key": KEY}


def test_absent_does_not_take_images_along_unless_it_is_forced(module, calls, ecr, args, name):
    module("ecr_repository", args)
    push(ecr, name, "1", "latest")
    push(ecr, name)
    gone = {"name": name, "tags": TAGS, "state": "absent"}
    calls.clear()
    for check in (True, False):
        result = module("ecr_repository", gone, check=check, expect_failure=True)
        assert result["refused"]
        assert "holds 2 images, which would be lost" in result["msg"]
    assert calls.writes == []
    forced = {**gone, "force": True}
    for check in (True, False):
        [change] = module("ecr_repository", forced, check=check)["changes"]
        assert (change["action"], change["impact"]) == ("delete", "disruptive")
        assert change["note"].startswith("2 images in it are lost")
        assert exists(ecr, name) == check
    assert module("ecr_repository", forced)["changes"] == []


def test_an_empty_one_goes_without_force(module, ecr, args, name):
    module("ecr_repository", args)
    module("ecr_repository", {"name": name, "tags": TAGS, "state": "absent"})
    assert not exists(ecr, name)


def test_gathered(module, calls, ecr, args, name):
    nothing = module("ecr_repository", {"name": name, "state": "gathered"})
    assert (nothing["repository"], nothing["repository_uri"]) == (None, None)
    module("ecr_repository", args)
    push(ecr, name, "1", "latest")
    calls.clear()
    found = module("ecr_repository", {"name": name, "state": "gathered"})
    assert calls.writes == []
    assert found["repository"]["images"] == 1
    assert found["repository"]["lifecycle_policy"]["2"]["count_number"] == 100
    assert found["repository_uri"] == there(ecr, name)["repositoryUri"]


def test_adopt_takes_over_exactly_what_differs(module, left_alone, calls, ecr, name):
    tags = [{"Key": "Owner", "Value": "other"}]
    ecr.create_repository(repositoryName=name, tags=tags)
    push(ecr, name, "kept")
    ecr.set_repository_policy(repositoryName=name, policyText=json.dumps(policy("*")))
    wanted = {"name": name, "image_tag_mutability": "IMMUTABLE", "scan_on_push": False, "tags": TAGS}
    calls.clear()
    assert "adopt" in module("ecr_repository", wanted, expect_failure=True)["msg"]
    assert calls.writes == []
    adopting = {**wanted, "adopt": [f"ECR repository {name}"]}
    assert len(left_alone("ecr_repository", {**adopting, "force": True})) == 1
    foretold = module("ecr_repository", adopting, check=True)["changes"]
    assert {(change["action"], change["path"]) for change in foretold} == {
        ("update", path) for path in ("image_tag_mutability", "tags.Owner", *(f"tags.{key}" for key in TAGS))
    }
    assert module("ecr_repository", adopting)["changes"] == foretold
    assert module("ecr_repository", wanted, check=True)["changes"] == []
    assert len(ecr.describe_images(repositoryName=name)["imageDetails"]) == 1
    assert ecr.get_repository_policy(repositoryName=name)["policyText"], "what is not asked for stays"
