#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: ecr_repository
short_description: Manage an ECR repository
version_added: 1.0.0
description:
  - Creates a repository and keeps the mutability of its tags, scanning, lifecycle policy, repository policy and tags as
    given. It is never deleted to change it, unless O(replace) allows it.
  - See U(https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html).
author: Nexus Learn platform team
options:
  name:
    description: Name of the repository, with its namespace if it has one (V(team/app)).
    type: str
    required: true
  image_tag_mutability:
    description:
      - Whether a tag that is there can be pushed again, with another image. Left out, the present setting stays (a new
        repository is V(IMMUTABLE)).
      - See U(https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html).
    type: str
    choices: [IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE, MUTABLE_WITH_EXCLUSION]
  image_tag_mutability_exclusion_filters:
    description:
      - Tags for which the opposite holds, up to five, with V(*) for any characters. Given with
        V(IMMUTABLE_WITH_EXCLUSION) and V(MUTABLE_WITH_EXCLUSION), and with no other. Enforced whole, in any order.
    type: list
    elements: str
  scan_on_push:
    description:
      - Whether ECR looks for known vulnerabilities in an image when it is pushed. What the registry is set to scan
        comes first.
      - See U(https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning.html).
    type: bool
  encryption:
    description:
      - How images are encrypted, which AWS sets once, when the repository is made. A change is refused, unless
        O(replace) allows it. Left out, a new repository is encrypted with V(AES256).
      - See U(https://docs.aws.amazon.com/AmazonECR/latest/userguide/encryption-at-rest.html).
    type: dict
    suboptions:
      encryption_type:
        description: V(AES256) is with keys of S3, V(KMS) with one of KMS, V(KMS_DSSE) with that in two layers.
        type: str
        choices: [AES256, KMS, KMS_DSSE]
        default: AES256
      kms_key:
        description:
          - ARN of the KMS key. Without one, and with an empty one, a new repository takes the key V(aws/ecr), and one
            that is there keeps its key.
        type: str
  lifecycle_policy:
    description:
      - Rules by which images go, in the order in which they apply. Enforced whole; an empty list is no policy.
      - ECR does not know which images run. A rule that selects the image of a running service takes it, and then none
        of its tasks can start again.
      - What a policy would take shows
        U(https://docs.aws.amazon.com/AmazonECR/latest/userguide/lpp_creation.html) beforehand.
      - See U(https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html).
    type: list
    elements: dict
    suboptions:
      description:
        description: What the rule is for.
        type: str
        default: ""
      tag_status:
        description: Which images, by their tags. A rule for V(any) comes last of its storage class.
        type: str
        choices: [tagged, untagged, any]
        required: true
      tag_pattern_list:
        description:
          - With V(tagged), patterns with up to four V(*); an image must have tags for all of them. V(*) alone is every
            image with a tag.
        type: list
        elements: str
      tag_prefix_list:
        description: Instead, beginnings of tags; an image must have tags for all of them.
        type: list
        elements: str
      storage_class:
        description: Which images, by where they are.
        type: str
        choices: [standard, archive]
        default: standard
      count_type:
        description:
          - V(imageCountMoreThan) selects all but the newest O(lifecycle_policy[].count_number), the others those that
            were pushed, last pulled or archived more than that many days ago.
          - V(sinceImagePulled) goes with V(transition) only, V(sinceImageTransitioned) with V(expire) and V(archive).
        type: str
        choices: [imageCountMoreThan, sinceImagePushed, sinceImagePulled, sinceImageTransitioned]
        required: true
      count_number:
        description: Images or days; 90 days at least for V(sinceImageTransitioned).
        type: int
        required: true
      action:
        description: V(expire) deletes the images, V(transition) archives them; an archived image cannot be pulled.
        type: str
        choices: [expire, transition]
        default: expire
  policy:
    description:
      - The repository policy, by which other accounts and services may use it. Enforced whole; an empty one is no
        policy. In its texts V({account_id}), V({region}) and V({partition}) stand for those of the credentials and of
        O(region).
      - See U(https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html).
    type: dict
  tags:
    description: Tags of the repository, enforced whole. Left out, tags are not touched.
    type: dict
  replace:
    description:
      - The name of the repository, to have it replaced where O(encryption) is another one. Without it that is refused.
      - The repository is deleted with all images in it, and made anew with what is asked for, and with what it had
        where nothing is. Until images are pushed again no task can start.
    type: str
  force:
    description: With O(state=absent), delete a repository that holds images, with them.
    type: bool
    default: false
  state:
    description:
      - Whether the repository shall be there. V(absent) is refused while it holds images, unless O(force) is set.
      - V(gathered) reports what is there, and null where nothing is; only O(name) counts then.
    type: str
    choices: [present, absent, gathered]
    default: present
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - nexus_learn.aws.plan
"""

EXAMPLES = r"""
- name: A repository that keeps the newest 50 images
  nexus_learn.aws.ecr_repository:
    name: nexus-learn-worker
    image_tag_mutability: IMMUTABLE
    scan_on_push: true
    lifecycle_policy:
      - tag_status: tagged
        tag_pattern_list: ["*"]
        count_type: imageCountMoreThan
        count_number: 50
      - tag_status: untagged
        count_type: sinceImagePushed
        count_number: 14
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}

- name: Delete it, with all images
  nexus_learn.aws.ecr_repository:
    name: nexus-learn-worker
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
    force: true
    state: absent
"""

RETURN = r"""
repository:
  description:
    - The repository as it is (in check mode, as it would be), with those of O(lifecycle_policy) and O(policy) that are
      given; the rules of the lifecycle policy by their place. With O(state=gathered) also how many C(images) it holds.
      Only its name when it is absent.
  returned: success
  type: dict
  sample:
    name: nexus-learn-worker
    arn: arn:aws:ecr:us-east-1:123456789012:repository/nexus-learn-worker
    repository_uri: 123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker
    image_tag_mutability: IMMUTABLE
    image_tag_mutability_exclusion_filters: []
    scan_on_push: true
    encryption: {encryption_type: AES256, kms_key: null}
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
repository_uri:
  description: What the names of its images begin with, before C(:) and the tag; null when it is not there.
  returned: success
  type: str
  sample: 123456789012.dkr.ecr.us-east-1.amazonaws.com/nexus-learn-worker
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import ecr_repository
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

SPEC = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "image_tag_mutability": {"type": "str", "choices": ecr_repository.MUTABILITY},
        "image_tag_mutability_exclusion_filters": {"type": "list", "elements": "str"},
        "scan_on_push": {"type": "bool"},
        "encryption": {
            "type": "dict",
            "options": {
                "encryption_type": {"type": "str", "choices": ecr_repository.ENCRYPTION_TYPES, "default": "AES256"},
                "kms_key": {"type": "str", "no_log": False},  # the key's ARN
            },
        },
        "lifecycle_policy": {
            "type": "list",
            "elements": "dict",
            "options": {
                "description": {"type": "str", "default": ""},
                "tag_status": {"type": "str", "choices": ecr_repository.TAG_STATUS, "required": True},
                "tag_pattern_list": {"type": "list", "elements": "str"},
                "tag_prefix_list": {"type": "list", "elements": "str"},
                "storage_class": {"type": "str", "choices": ecr_repository.STORAGE_CLASSES, "default": "standard"},
                "count_type": {"type": "str", "choices": ecr_repository.COUNT_TYPES, "required": True},
                "count_number": {"type": "int", "required": True},
                "action": {"type": "str", "choices": ecr_repository.ACTIONS, "default": "expire"},
            },
        },
        "policy": {"type": "dict"},
        "tags": {"type": "dict"},
        "replace": {"type": "str"},
        "force": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "absent", "gathered"], "default": "present"},
    }
}


def main():
    module_main(ecr_repository, SPEC)


if __name__ == "__main__":
    main()
