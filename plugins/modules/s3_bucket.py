#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: s3_bucket
short_description: Manage an S3 bucket
version_added: 1.0.0
description:
  - Creates a bucket and keeps its versioning, encryption, public access block, ownership, policy, lifecycle, access
    logging and tags as given.
  - In texts of O(name), O(policy) and O(logging.target_bucket), V({account_id}), V({region}) and V({partition}) stand
    for those of the credentials and of O(region).
  - Every request names the own account as the bucket's owner, so that a bucket that somebody else has under this name
    is neither read nor written.
  - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html).
author: Nexus Learn platform team
options:
  name:
    description: Name of the bucket; it is the only one of this name in the partition, of all accounts.
    type: str
    required: true
  versioning:
    description:
      - Whether objects that are overwritten or deleted are kept as versions. Turned off, it is suspended.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketVersioning.html).
    type: bool
  encryption:
    description:
      - How objects are encrypted that say nothing about it. Enforced whole.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_ServerSideEncryptionRule.html).
    type: dict
    suboptions:
      sse_algorithm:
        description: V(AES256) is SSE-S3, V(aws:kms) SSE-KMS and V(aws:kms:dsse) SSE-KMS in two layers.
        type: str
        choices: [AES256, aws:kms, aws:kms:dsse]
        default: AES256
      kms_key_id:
        description: ARN of the KMS key. Without one, and with an empty one, SSE-KMS takes the key V(aws/s3).
        type: str
      bucket_key_enabled:
        description: Whether SSE-KMS derives the objects' keys from one of the bucket's, which saves requests to KMS.
        type: bool
        default: false
  public_access_block:
    description:
      - What keeps the public out whatever ACLs and policies say.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_PublicAccessBlockConfiguration.html).
    type: dict
    suboptions:
      block_public_acls:
        description: Refuse ACLs that grant access to the public.
        type: bool
        default: true
      ignore_public_acls:
        description: Ignore such ACLs that are there.
        type: bool
        default: true
      block_public_policy:
        description: Refuse a policy that grants access to the public.
        type: bool
        default: true
      restrict_public_buckets:
        description: While there is such a policy, let only AWS services and this account in.
        type: bool
        default: true
  object_ownership:
    description:
      - Who owns what others upload, and whether ACLs count. V(BucketOwnerEnforced) turns ACLs off.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_OwnershipControlsRule.html).
    type: str
    choices: [BucketOwnerEnforced, BucketOwnerPreferred, ObjectWriter]
  policy:
    description:
      - The bucket policy. Enforced whole; an empty one is no policy.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html).
    type: dict
  lifecycle_rules:
    description:
      - When objects and versions are deleted. Enforced whole, in any order; an empty list is no lifecycle.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html).
    type: list
    elements: dict
    suboptions:
      id:
        description: Name of the rule.
        type: str
        required: true
      prefix:
        description: Beginning of the keys that it is for. An empty one is all of them.
        type: str
        default: ""
      enabled:
        description: Whether it is in force.
        type: bool
        default: true
      expiration_days:
        description: Age in days at which an object expires; with versioning, a version of it stays.
        type: int
      expired_object_delete_marker:
        description:
          - Whether a delete marker goes when it is all that is left of an object. Not with
            O(lifecycle_rules[].expiration_days).
        type: bool
      noncurrent_version_expiration_days:
        description: Days after which a version goes that is not the current one.
        type: int
      newer_noncurrent_versions:
        description:
          - How many of those versions, 1 to 100, stay nevertheless, the newest ones. With
            O(lifecycle_rules[].noncurrent_version_expiration_days).
        type: int
      abort_incomplete_multipart_upload_days:
        description: Days after which an upload in parts that was not completed goes.
        type: int
      object_size_greater_than:
        description:
          - Only for objects of more bytes than that.
          - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRuleFilter.html).
        type: int
      object_size_less_than:
        description: Only for objects of less bytes than that.
        type: int
      transitions:
        description:
          - When objects move to another storage class.
          - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_Transition.html).
        type: list
        elements: dict
        suboptions:
          days:
            description: Age in days at which they move; 30 at least for V(STANDARD_IA) and V(ONEZONE_IA).
            type: int
            required: true
          storage_class: &storage_class
            description: Where they move.
            type: str
            choices: [GLACIER, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, DEEP_ARCHIVE, GLACIER_IR]
            required: true
      noncurrent_version_transitions:
        description:
          - When versions move that are not the current one.
          - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_NoncurrentVersionTransition.html).
        type: list
        elements: dict
        suboptions:
          days:
            description: Days since they are not the current one; 30 at least for V(STANDARD_IA) and V(ONEZONE_IA).
            type: int
            required: true
          storage_class: *storage_class
          newer_noncurrent_versions:
            description: How many of those versions, 1 to 100, stay where they are, the newest ones.
            type: int
  logging:
    description:
      - Server access logging, who asked for what. Enforced whole. The policy of the bucket that takes the logs must let
        V(logging.s3.amazonaws.com) put objects there.
      - See U(https://docs.aws.amazon.com/AmazonS3/latest/API/API_LoggingEnabled.html).
    type: dict
    suboptions:
      target_bucket:
        description: The bucket, of the same region and account, that takes the logs. An empty one turns them off.
        type: str
        required: true
      target_prefix:
        description: Beginning of the logs' keys.
        type: str
        default: ""
  tags:
    description: Tags of the bucket, enforced whole. Left out, tags are not touched.
    type: dict
  force:
    description: With O(state=absent), delete a bucket that is not empty, with all versions of all objects.
    type: bool
    default: false
  state:
    description:
      - Whether the bucket shall be there. V(absent) is refused while it is not empty, unless O(force) is set.
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
- name: A bucket that keeps old versions for a month and takes no unencrypted connection
  nexus_learn.aws.s3_bucket:
    name: nexus-learn-reports-{account_id}-{region}
    versioning: true
    encryption: {sse_algorithm: AES256}
    public_access_block: {}
    object_ownership: BucketOwnerEnforced
    lifecycle_rules:
      - id: old-versions
        noncurrent_version_expiration_days: 30
    policy:
      Version: "2012-10-17"
      Statement:
        - Effect: Deny
          Principal: "*"
          Action: s3:*
          Resource:
            - arn:{partition}:s3:::nexus-learn-reports-{account_id}-{region}
            - arn:{partition}:s3:::nexus-learn-reports-{account_id}-{region}/*
          Condition: {Bool: {aws:SecureTransport: "false"}}
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

RETURN = r"""
bucket:
  description:
    - The bucket as it is (in check mode, as it would be), with those options that are given; only its name when it is
      absent.
  returned: success
  type: dict
  sample:
    name: nexus-learn-reports-123456789012-us-east-1
    arn: arn:aws:s3:::nexus-learn-reports-123456789012-us-east-1
    versioning: true
    encryption: {sse_algorithm: AES256, kms_key_id: null, bucket_key_enabled: false}
    object_ownership: BucketOwnerEnforced
    tags: {Project: nexus-learn, Environment: dev, ManagedBy: ansible}
"""

from ansible_collections.nexus_learn.aws.plugins.module_utils import s3_bucket
from ansible_collections.nexus_learn.aws.plugins.module_utils.doors import module_main

STORAGE_CLASSES = ["GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"]
TRANSITION = {
    "days": {"type": "int", "required": True},
    "storage_class": {"type": "str", "choices": STORAGE_CLASSES, "required": True},
}
SPEC = {
    "argument_spec": {
        "name": {"type": "str", "required": True},
        "versioning": {"type": "bool"},
        "encryption": {
            "type": "dict",
            "options": {
                "sse_algorithm": {
                    "type": "str",
                    "choices": ["AES256", "aws:kms", "aws:kms:dsse"],
                    "default": "AES256",
                },
                "kms_key_id": {"type": "str"},
                "bucket_key_enabled": {"type": "bool", "default": False},
            },
        },
        "public_access_block": {
            "type": "dict",
            "options": {option: {"type": "bool", "default": True} for option in s3_bucket.PUBLIC_ACCESS},
        },
        "object_ownership": {"type": "str", "choices": ["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]},
        "policy": {"type": "dict"},
        "lifecycle_rules": {
            "type": "list",
            "elements": "dict",
            "options": {
                "id": {"type": "str", "required": True},
                "prefix": {"type": "str", "default": ""},
                "enabled": {"type": "bool", "default": True},
                "expiration_days": {"type": "int"},
                "expired_object_delete_marker": {"type": "bool"},
                "noncurrent_version_expiration_days": {"type": "int"},
                "newer_noncurrent_versions": {"type": "int"},
                "abort_incomplete_multipart_upload_days": {"type": "int"},
                "object_size_greater_than": {"type": "int"},
                "object_size_less_than": {"type": "int"},
                "transitions": {"type": "list", "elements": "dict", "options": TRANSITION},
                "noncurrent_version_transitions": {
                    "type": "list",
                    "elements": "dict",
                    "options": {**TRANSITION, "newer_noncurrent_versions": {"type": "int"}},
                },
            },
        },
        "logging": {
            "type": "dict",
            "options": {
                "target_bucket": {"type": "str", "required": True},
                "target_prefix": {"type": "str", "default": ""},
            },
        },
        "tags": {"type": "dict"},
        "force": {"type": "bool", "default": False},
        "state": {"type": "str", "choices": ["present", "absent", "gathered"], "default": "present"},
    }
}


def main():
    module_main(s3_bucket, SPEC)


if __name__ == "__main__":
    main()
