# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journal in the deployment bucket: what the callback ``run`` wrote there of each run that changed something."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws, together
from ansible_collections.nexus_learn.aws.plugins.module_utils.lock import JOURNAL


def describe(aws: Aws, params: Mapping) -> list[dict[str, Any]]:
    """The last entries, oldest first; none where there is no bucket."""
    s3 = aws.client("s3")
    bucket = {"Bucket": aws.fill(params["bucket"]), "ExpectedBucketOwner": aws.account_id}
    try:
        # their names begin with the time, and S3 lists them in order
        keys = [item["Key"] for item in aws.pages("s3", "list_objects_v2", "Contents", **bucket, Prefix=JOURNAL)]
    except s3.exceptions.NoSuchBucket:
        return []
    if params["run_id"]:
        keys = [key for key in keys if params["run_id"] in key]

    def read(key: str) -> dict[str, Any]:
        return json.loads(s3.get_object(**bucket, Key=key)["Body"].read())

    return together(*(lambda key=key: read(key) for key in keys[-params["limit"] :]))


def output(aws: Aws, params: Mapping, current: Any) -> dict[str, Any]:
    return {"entries": current}
