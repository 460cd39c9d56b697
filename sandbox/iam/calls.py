"""What an HTTP request asks for: service, operation and parameters under the names that they have on the wire."""

import io
import json
import re
import urllib.parse
import xml.sax.saxutils
from dataclasses import dataclass, field
from typing import Any

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d+)/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)
PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}
"""Services whose actions begin with another word than the one that requests are signed for."""

S3_OPERATIONS = {
    ("GET", "service", ""): "ListBuckets",
    ("PUT", "bucket", ""): "CreateBucket",
    ("DELETE", "bucket", ""): "DeleteBucket",
    ("HEAD", "bucket", ""): "HeadBucket",
    ("GET", "bucket", ""): "ListObjects",
    ("GET", "bucket", "list-type"): "ListObjectsV2",
    ("GET", "bucket", "versions"): "ListObjectVersions",
    ("GET", "bucket", "location"): "GetBucketLocation",
    ("POST", "bucket", "delete"): "DeleteObjects",
    **{
        (method, "bucket", query): f"{verb}{name}"
        for query, name in (
            ("versioning", "BucketVersioning"),
            ("encryption", "BucketEncryption"),
            ("publicAccessBlock", "PublicAccessBlock"),
            ("tagging", "BucketTagging"),
            ("lifecycle", "BucketLifecycleConfiguration"),
            ("policy", "BucketPolicy"),
            ("ownershipControls", "BucketOwnershipControls"),
            ("logging", "BucketLogging"),
        )
        for method, verb in (("GET", "Get"), ("PUT", "Put"))
    },
    ("DELETE", "bucket", "encryption"): "DeleteBucketEncryption",
    ("DELETE", "bucket", "publicAccessBlock"): "DeletePublicAccessBlock",
    ("DELETE", "bucket", "tagging"): "DeleteBucketTagging",
    ("DELETE", "bucket", "lifecycle"): "DeleteBucketLifecycle",
    ("DELETE", "bucket", "policy"): "DeleteBucketPolicy",
    ("DELETE", "bucket", "ownershipControls"): "DeleteBucketOwnershipControls",
    ("GET", "object", ""): "GetObject",
    ("HEAD", "object", ""): "HeadObject",
    ("PUT", "object", ""): "PutObject",
    ("DELETE", "object", ""): "DeleteObject",
}
"""By method, level and sub-resource, path-style; https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html"""
S3_PARAMETERS = {
    "prefix", "delimiter", "marker", "max-keys", "encoding-type", "continuation-token", "start-after", "fetch-owner",
    "key-marker", "version-id-marker", "bucket-region", "max-buckets", "versionid", "partnumber", "x-id",
}  # fmt: skip
"""Of S3's queries, in lower case, those that say how and not what; as do `response-…` and `x-amz-…`."""


@dataclass(frozen=True)
class Call:
    """`service` is the prefix of its IAM actions, `params` as on the wire (ECS: `taskDefinition`, EC2: `VpcId`)."""

    service: str
    operation: str
    region: str
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> str:
        return f"{self.service}:{self.operation}"


def read_call(environ, body: bytes, service: str, region: str, operation: str) -> Call:
    """The call behind a WSGI request whose service, region and operation server.identify has found."""
    service = PREFIXES.get(service, service)
    if service == "s3":
        return _s3(environ, body, region)
    if environ.get("PATH_INFO", "").startswith("/service/"):
        params = _cbor(body)
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        params = nested(dict(urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)))
    else:
        params = _json(body)
    return Call(service, operation, region, params)


def _json(body: bytes) -> dict:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _cbor(body: bytes) -> dict:
    from botocore.parsers import RpcV2CBORParser

    return RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body))) if body else {}


def nested(flat: dict[str, str]) -> dict[str, Any]:
    """`{"Tag.1.Key": "a"}` as `{"Tag": [{"Key": "a"}]}`; `Tags.member.1.Key` loses its `member`."""
    tree: dict = {}
    for name, value in flat.items():
        branch = tree
        *path, last = name.split(".")
        for part in path:
            if not isinstance(branch.setdefault(part, {}), dict):
                break  # `A=1&A.B=2` is nothing that a client sends
            branch = branch[part]
        else:
            branch[last] = value
    return _lists(tree)


def _lists(node):
    if not isinstance(node, dict):
        return node
    if list(node) == ["member"]:
        return _lists(node["member"])
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(inner) for key, inner in node.items()}


def values(params: dict[str, Any], *names: str) -> list:
    """What the first of these parameters that is there holds, as a list: texts, or structures."""
    for name in names:
        found = params.get(name)
        if isinstance(found, dict) and len(found) == 1:  # ElastiCache: Tags.Tag.1.Key
            (found,) = found.values()
        if found not in (None, "", [], {}):
            return found if isinstance(found, list) else [found]
    return []


def _s3(environ, body: bytes, region: str) -> Call:
    bucket, _, key = environ.get("PATH_INFO", "").lstrip("/").partition("/")
    query = dict(urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    level = "object" if key else "bucket" if bucket else "service"
    method = environ["REQUEST_METHOD"]
    what = [name for name in query if name.lower() not in S3_PARAMETERS]
    what = [name for name in what if not name.lower().startswith(("response-", "x-amz-"))]
    # one that is not known is an action of its own, which only a wildcard allows
    operation = S3_OPERATIONS.get((method, level, "&".join(what)), " ".join([method, level, *what]))
    params: dict[str, Any] = {"Bucket": bucket, "Key": key, "VersionId": query.get("versionId"),
                              "Prefix": query.get("prefix")}  # fmt: skip
    if operation == "DeleteObjects":
        params |= {"Key": _texts(body, "Key"), "VersionId": _texts(body, "VersionId")}
    if operation in ("CreateBucket", "PutBucketTagging"):
        pairs = zip(_texts(body, "Key"), _texts(body, "Value"), strict=False)
        params["Tags"] = [{"Key": name, "Value": value} for name, value in pairs]
    return Call("s3", operation, region, {name: value for name, value in params.items() if value})


def _texts(body: bytes, name: str) -> list[str]:
    """The texts of all elements of that name in a document."""
    found = re.findall(rf"<{name}>([^<]*)</{name}>", body.decode(errors="replace"))
    return [xml.sax.saxutils.unescape(text) for text in found]
