# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One ECR repository: tag mutability, scanning, encryption, lifecycle policy, repository policy, tags.

https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Repository.html

How a repository is encrypted AWS sets once, when it is made. Another encryption is refused, unless ``replace`` names
the repository: then it is deleted with its images and made anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.policy import compare_policies
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, error_code, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import (
    DISRUPTIVE,
    GATHERED,
    REPLACEMENT,
    Change,
    Exact,
    Refused,
    Say,
    create,
    delete,
    is_foreign,
    is_unknown,
    leave_foreign,
    predicted,
    refuse_foreign,
    tag_changes,
    unknown,
    update,
    user_tags,
)
from ansible_collections.nexus_learn.aws.plugins.module_utils.s3_bucket import normal_policy

MUTABILITY = ["IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE", "MUTABLE_WITH_EXCLUSION"]
# What a new repository is that is not told: AWS would let a tag be pushed again, with another image.
DEFAULT_MUTABILITY = "IMMUTABLE"
ENCRYPTION_TYPES = ["AES256", "KMS", "KMS_DSSE"]
# option of a rule -> where the lifecycle policy has it
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
_SELECTION = {
    "tag_status": "tagStatus",
    "tag_pattern_list": "tagPatternList",
    "tag_prefix_list": "tagPrefixList",
    "storage_class": "storageClass",
    "count_type": "countType",
    "count_number": "countNumber",
}
TAG_STATUS = ["tagged", "untagged", "any"]
STORAGE_CLASSES = ["standard", "archive"]
COUNT_TYPES = ["imageCountMoreThan", "sinceImagePushed", "sinceImagePulled", "sinceImageTransitioned"]
ACTIONS = ["expire", "transition"]
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_examples.html
_LEAST_DAYS_ARCHIVED = 90
_MOST_WILDCARDS = 4
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageTagMutabilityExclusionFilter.html
_FILTER, _MOST_FILTERS = r"[0-9a-zA-Z._*-]{1,128}", 5
# What Get... answers where there is none.
_NONE = ("LifecyclePolicyNotFoundException", "RepositoryPolicyNotFoundException")


def resource(name: str) -> str:
    return f"ECR repository {name}"


def arn(aws: Aws, name: str) -> str:
    return aws.arn("ecr", f"repository/{name}")


def uri(aws: Aws, name: str) -> str:
    """What an image's name begins with. https://docs.aws.amazon.com/general/latest/gr/ecr.html"""
    suffix = "amazonaws.com.cn" if aws.partition == "aws-cn" else "amazonaws.com"
    return f"{aws.account_id}.dkr.ecr.{aws.region}.{suffix}/{name}"


# option -> the call that reads it
_READS = {"lifecycle_policy": "get_lifecycle_policy", "policy": "get_repository_policy"}


def describe(aws: Aws, params: Mapping) -> dict[str, Any] | None:
    """The repository, with those of ``lifecycle_policy`` and ``policy`` that are given, or None.

    ``images`` is how many there are: for state absent and gathered. ``lost`` is there when only another repository can
    be encrypted as asked: its ``images``, and what it has that is not given and that the new one shall have.
    """
    ecr, name = aws.client("ecr"), params["name"]

    def read(call: Callable[[], Any]) -> Callable[[], Any]:
        def answer() -> Any:
            try:
                return call()
            except ecr.exceptions.ClientError as error:
                if error_code(error) == "RepositoryNotFoundException":
                    return None
                if error_code(error) in _NONE:
                    return {}
                raise

        return answer

    def images() -> int:
        # those that a lifecycle policy has archived, too; one with several tags is named for each
        found = aws.pages("ecr", "list_images", "imageIds", repositoryName=name, filter={"imageStatus": "ANY"})
        return len({image["imageDigest"] for image in found})

    def asked(options: Sequence[str]) -> dict[str, Callable[[], Any]]:
        return {option: lambda option=option: getattr(ecr, _READS[option])(repositoryName=name) for option in options}

    def answers(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        found = zip(calls, together(*(read(call) for call in calls.values())), strict=True)
        return {key: answer if answer is None else _NORMAL[key](answer) for key, answer in found}

    given = [option for option in _READS if params["state"] == GATHERED or params[option] is not None]
    calls: dict[str, Callable[[], Any]] = {
        "repository": lambda: ecr.describe_repositories(repositoryNames=[name]),
        # by the ARN that it must have, so that nothing waits for the answer to the other one
        "tags": lambda: ecr.list_tags_for_resource(resourceArn=arn(aws, name)),
        **(asked(given) if params["state"] != "absent" else {}),
        **({"images": images} if params["state"] != "present" else {}),
    }
    found = answers(calls)
    if found["repository"] is None or found["tags"] is None:
        return None
    current = {**found.pop("repository"), **found}
    if params["state"] == "present" and _is_replaced(params, current):
        current["lost"] = answers({**asked([option for option in _READS if option not in given]), "images": images})
    return current


def _repository(answer: Mapping) -> dict[str, Any]:
    there = answer["repositories"][0]
    encryption = there.get("encryptionConfiguration", {})
    return {
        "name": there["repositoryName"],
        "arn": there["repositoryArn"],
        "repository_uri": there["repositoryUri"],
        "image_tag_mutability": there.get("imageTagMutability", "MUTABLE"),
        "image_tag_mutability_exclusion_filters": sorted(
            one["filter"] for one in there.get("imageTagMutabilityExclusionFilters") or []
        ),
        "scan_on_push": bool(there.get("imageScanningConfiguration", {}).get("scanOnPush", False)),
        "encryption": {
            "encryption_type": encryption.get("encryptionType", "AES256"),
            "kms_key": encryption.get("kmsKey"),
        },
    }


def _lifecycle_policy(answer: Mapping) -> dict[str, Any]:
    """Rules by their place in the order in which they apply, from 1: the numbers themselves say nothing more."""
    rules = json.loads(answer["lifecyclePolicyText"])["rules"] if answer else []
    rules.sort(key=lambda rule: rule["rulePriority"])
    return {str(place): _rule(rule) for place, rule in enumerate(rules, 1)}


def _rule(rule: Mapping) -> dict[str, Any]:
    """A rule of the API as the option has it; what it has besides is kept, for then it is not as asked."""
    selection, action = dict(rule["selection"]), rule["action"]
    fields = {option: selection.pop(name, None) for option, name in _SELECTION.items()}
    for option in ("tag_pattern_list", "tag_prefix_list"):
        fields[option] = sorted(fields[option] or [])
    selection.pop("countUnit", None)  # days, where there is one
    return {
        **fields,
        "storage_class": fields["storage_class"] or "standard",
        "description": rule.get("description") or "",
        "action": action["type"],
        **selection,
    }


def _rule_argument(place: str, rule: Mapping) -> dict[str, Any]:
    """The inverse."""
    selection = {name: rule[option] for option, name in _SELECTION.items() if rule[option]}
    if rule["storage_class"] == "standard":
        del selection["storageClass"]
    if rule["count_type"] != "imageCountMoreThan":
        selection["countUnit"] = "days"
    return {
        "rulePriority": int(place),
        **({"description": rule["description"]} if rule["description"] else {}),
        "selection": selection,
        "action": {
            "type": rule["action"],
            **({"targetStorageClass": "archive"} if rule["action"] == "transition" else {}),
        },
    }


# option -> an answer of the API as the option has it
_NORMAL: dict[str, Callable[[Any], Any]] = {
    "repository": _repository,
    "tags": lambda answer: user_tags(boto3_tag_list_to_ansible_dict(answer["tags"])),
    "lifecycle_policy": _lifecycle_policy,
    "policy": lambda answer: normal_policy(json.loads(answer["policyText"])) if answer else None,
    "images": lambda count: count,
}


def desired(aws: Aws, params: Mapping, current: Mapping | None) -> dict[str, Any]:
    """What the parameters ask; what they leave out is left out here."""
    fields: dict[str, Any] = {}
    mutability = params["image_tag_mutability"] or (None if current else DEFAULT_MUTABILITY)
    if mutability is not None:
        fields["image_tag_mutability"] = mutability
        fields["image_tag_mutability_exclusion_filters"] = sorted(
            set(params["image_tag_mutability_exclusion_filters"] or [])
        )
    if params["scan_on_push"] is not None:
        fields["scan_on_push"] = params["scan_on_push"]
    if params["encryption"] is not None:
        fields["encryption"] = _wanted_encryption(params["encryption"], (current or {}).get("encryption", {}))
    if params["lifecycle_policy"] is not None:
        rules = enumerate(params["lifecycle_policy"], 1)
        fields["lifecycle_policy"] = Exact((str(place), _wanted_rule(rule)) for place, rule in rules)
    if params["policy"] is not None:
        wanted, there = aws.fill(params["policy"]), (current or {}).get("policy")
        # in the wording of what is there when both mean the same
        same = wanted and there and not compare_policies(there, wanted)
        fields["policy"] = there if same else normal_policy(wanted) or None
    if params["tags"] is not None:
        fields["tags"] = Exact(params["tags"])
    return fields


def _wanted_encryption(given: Mapping, there: Mapping) -> dict[str, Any]:
    """Without a key, KMS may have any: which one is AWS's own, the repository does not say."""
    kind, key = given["encryption_type"], given["kms_key"] or None
    if kind != "AES256" and key is None and kind == there.get("encryption_type"):
        return {"encryption_type": kind}
    if kind != "AES256" and key is None:
        key = unknown("KMS key", "aws/ecr")
    return {"encryption_type": kind, "kms_key": key}


def _wanted_rule(rule: Mapping) -> Exact:
    fields = Exact(rule)
    for option in ("tag_pattern_list", "tag_prefix_list"):
        fields[option] = sorted(set(rule[option] or []))
    return fields


def _is_replaced(params: Mapping, current: Mapping) -> bool:
    """Whether only another repository can be encrypted as asked."""
    if params["encryption"] is None:
        return False
    wanted = _wanted_encryption(params["encryption"], current["encryption"])
    return any(current["encryption"][field] != value for field, value in wanted.items())


def _refuse_impossible(label: str, params: Mapping) -> None:
    """What ECR would refuse when it has taken other changes already."""
    encryption = params["encryption"]
    if encryption and encryption["kms_key"]:
        if encryption["encryption_type"] == "AES256":
            raise Refused(f"{label}: AES256 has no kms_key. Set encryption.encryption_type to KMS, or leave it out.")
        if not encryption["kms_key"].startswith("arn:"):
            # ECR answers the ARN whatever it was given
            raise Refused(f"{label}: encryption.kms_key is {encryption['kms_key']}. Give the ARN of the key.")
    problem = _problem_of_filters(params)
    if problem:
        raise Refused(f"{label}: {problem}")
    rules = params["lifecycle_policy"] or []
    for place, rule in enumerate(rules):
        problem = _problem_of(rule, rules[place + 1 :])
        if problem:
            raise Refused(f"Rule {place + 1} of the lifecycle policy of {label}: {problem}")


def _problem_of_filters(params: Mapping) -> str:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html"""
    mutability, filters = params["image_tag_mutability"], params["image_tag_mutability_exclusion_filters"]
    excluding = [name for name in MUTABILITY if name.endswith("_WITH_EXCLUSION")]
    if filters and mutability not in excluding:
        return f"image_tag_mutability_exclusion_filters go with image_tag_mutability {' or '.join(excluding)} only."
    if mutability in excluding and not filters:
        return f"image_tag_mutability {mutability} needs image_tag_mutability_exclusion_filters. Add them."
    if len(filters or []) > _MOST_FILTERS:
        return f"there are {len(filters)} image_tag_mutability_exclusion_filters; ECR takes {_MOST_FILTERS}."
    for one in filters or []:
        if not re.fullmatch(_FILTER, one):
            return (
                f"image_tag_mutability_exclusion_filters has {one!r}; ECR takes up to 128 letters, digits and . _ - *."
            )
    return ""


def _problem_of(rule: Mapping, later: Sequence[Mapping]) -> str:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html"""
    lists = [name for name in ("tag_pattern_list", "tag_prefix_list") if rule[name]]
    if rule["count_number"] < 1:
        return f"count_number is {rule['count_number']}, and 1 is the least."
    if rule["tag_status"] == "tagged" and len(lists) != 1:
        return "tag_status tagged needs one of tag_pattern_list ('*' for every tag) and tag_prefix_list."
    if rule["tag_status"] != "tagged" and lists:
        return f"{lists[0]} goes with tag_status tagged only."
    for pattern in rule["tag_pattern_list"] or []:
        if pattern.count("*") > _MOST_WILDCARDS:
            return f"{pattern} of tag_pattern_list has more than {_MOST_WILDCARDS} wildcards."
    if rule["tag_status"] == "any" and any(one["storage_class"] == rule["storage_class"] for one in later):
        return "tag_status any leaves nothing for the rules after it. Put it last."
    if rule["count_type"] == "sinceImagePulled" and rule["action"] != "transition":
        return "sinceImagePulled goes with action transition only."
    if rule["count_type"] == "sinceImageTransitioned":
        if rule["action"] != "expire" or rule["storage_class"] != "archive":
            return "sinceImageTransitioned goes with action expire and storage_class archive only."
        if rule["count_number"] < _LEAST_DAYS_ARCHIVED:
            return f"an archived image is kept for {_LEAST_DAYS_ARCHIVED} days at least. Raise count_number to that."
    return ""


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"


def plan(aws: Aws, params: Mapping, current: Mapping | None) -> list[Change]:
    label = resource(params["name"])
    if params["state"] == "absent":
        return _plan_absent(label, params, current)
    if current is not None:
        refuse_foreign(label, current["tags"], params)
    _refuse_impossible(label, params)
    wanted = desired(aws, params, current)
    if current is None:
        return [create(label, wanted)]
    changes = [_expiring(change, current, wanted) for change in update(label, current, wanted)]
    if "lost" not in current:
        return changes
    if params["replace"] != params["name"]:
        raise _replacement(label, params, current, wanted)
    note = f"it is deleted, with {_images(current['lost']['images'])}, and made anew"
    return [replace(change, action="replace", impact=REPLACEMENT, note=note) for change in changes]


def _plan_absent(label: str, params: Mapping, current: Mapping | None) -> list[Change]:
    if current is None:
        return []
    if is_foreign(current["tags"], params["tags"]):
        return [leave_foreign(label, current["tags"])]
    if current["images"] and not params["force"]:
        raise Refused(
            f"{label} holds {_images(current['images'])}, which would be lost. Set force: true to delete it with them, "
            "for good."
        )
    note = f"{_images(current['images'])} in it are lost; tasks that need one do not start" if current["images"] else ""
    return [delete(label, current, note=note)]


def _replacement(label: str, params: Mapping, current: Mapping, wanted: Mapping) -> Refused:
    now, then = (
        one["encryption_type"] + (f" with {key}" if (key := one.get("kms_key")) and not is_unknown(key) else "")
        for one in (current["encryption"], wanted["encryption"])
    )
    return Refused(
        f"{label}: AWS sets a repository's encryption once, when it is made (encryption {now} to {then}). A new one "
        f"would have to take its place, and {_images(current['lost']['images'])} in it would be lost, with which tasks "
        "start, so it was not touched. Set encryption back to what it is. Or have it replaced, with "
        f"-e ecr_repository_replace={params['name']}, and push the images again before anything is deployed. Or give "
        "image_repository another name, which makes a second one beside it."
    )


def _expiring(change: Change, current: Mapping, wanted: Mapping) -> Change:
    """A change by which the lifecycle policy may take more images than before, which is within a day and for good."""
    _, _, path = change.path.partition("lifecycle_policy.")
    place, _, option = path.partition(".")
    rule = wanted.get("lifecycle_policy", {}).get(place)
    if not path or rule is None or option == "description":
        return change
    if place not in current["lifecycle_policy"]:
        more = option == "count_number"  # said once, not for each field of a new rule
    else:
        more = option != "count_number" or change.after < change.before
    if not more:
        return change
    does = "archived" if rule["action"] == "transition" else "deleted for good"
    return replace(change, impact=DISRUPTIVE, note=f"images that the rule selects are {does} within 24 hours")


def apply(aws: Aws, params: Mapping, current: Mapping | None, changes: Sequence[Change], say: Say) -> None:
    ecr, name = aws.client("ecr"), params["name"]
    if changes[0].action == "delete":
        ecr.delete_repository(repositoryName=name, force=params["force"])
        return
    wanted = desired(aws, params, current)
    if changes[0].action == "replace":
        ecr.delete_repository(repositoryName=name, force=True)
        wanted = predicted({**current, **current["lost"]}, wanted)
    paths = {change.path.split(".")[0] for change in changes}
    if changes[0].action != "update":
        _create(ecr, name, wanted)
        paths = {option for option in _READS if wanted.get(option)}
    if paths & {"image_tag_mutability", "image_tag_mutability_exclusion_filters"}:
        ecr.put_image_tag_mutability(repositoryName=name, **_mutability(wanted))
    if "scan_on_push" in paths:
        ecr.put_image_scanning_configuration(repositoryName=name, **_scanning(wanted))
    if "lifecycle_policy" in paths:
        rules = [_rule_argument(place, rule) for place, rule in wanted["lifecycle_policy"].items()]
        if rules:
            ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps({"rules": rules}))
        else:
            ecr.delete_lifecycle_policy(repositoryName=name)
    if "policy" in paths:
        if wanted["policy"]:
            document = aws.fill(params["policy"]) or wanted["policy"]
            ecr.set_repository_policy(repositoryName=name, policyText=json.dumps(document))
        else:
            ecr.delete_repository_policy(repositoryName=name)
    if "tags" in paths:
        new, gone = tag_changes(changes)
        if new:
            ecr.tag_resource(resourceArn=arn(aws, name), tags=ansible_dict_to_boto3_tag_list(new))
        if gone:
            ecr.untag_resource(resourceArn=arn(aws, name), tagKeys=gone)


def _mutability(fields: Mapping) -> dict[str, Any]:
    filters = [
        {"filterType": "WILDCARD", "filter": one} for one in fields.get("image_tag_mutability_exclusion_filters") or []
    ]
    return {
        "imageTagMutability": fields["image_tag_mutability"],
        **({"imageTagMutabilityExclusionFilters": filters} if filters else {}),
    }


def _scanning(fields: Mapping) -> dict[str, Any]:
    return {"imageScanningConfiguration": {"scanOnPush": fields["scan_on_push"]}}


def _create(ecr: Any, name: str, wanted: Mapping) -> None:
    """Make it with its tags, so that there is no moment in which it is nobody's."""
    arguments = _mutability(wanted)
    if "scan_on_push" in wanted:
        arguments |= _scanning(wanted)
    if "encryption" in wanted:
        kind, key = wanted["encryption"]["encryption_type"], wanted["encryption"]["kms_key"]
        named = {"kmsKey": key} if key and not is_unknown(key) else {}
        arguments["encryptionConfiguration"] = {"encryptionType": kind, **named}
    if wanted.get("tags"):
        arguments["tags"] = ansible_dict_to_boto3_tag_list(wanted["tags"])
    ecr.create_repository(repositoryName=name, **arguments)


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """A repository is there, and as wanted, when the calls return."""


def resources(aws: Aws, params: Mapping, current: Mapping | None) -> list[str]:
    return [resource(params["name"])]


def output(aws: Aws, params: Mapping, current: Mapping | None) -> dict[str, Any]:
    name = params["name"]
    if params["state"] == "absent":
        return {"repository": {"name": name}, "repository_uri": None}
    if params["state"] == GATHERED:
        return {"repository": current, "repository_uri": current and current["repository_uri"]}
    there = current or {
        "name": name,
        "arn": arn(aws, name),
        "repository_uri": uri(aws, name),
        "scan_on_push": False,
        "encryption": {"encryption_type": "AES256", "kms_key": None},
        "tags": {},
    }
    fields = predicted(there, desired(aws, params, current))
    fields.pop("lost", None)
    return {"repository": fields, "repository_uri": fields["repository_uri"]}


def billed(aws: Aws, params: Mapping, current: Mapping | None, wanted: bool) -> list[dict[str, Any]]:
    if current is None and not wanted:
        return []
    return [{"kind": "ecr_repository", "resource": resource(params["name"])}]
