"""The registry beside ECR: the distribution specification in plain HTTP, and with skopeo where it is installed."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
import uuid

import pytest
import requests
from botocore.exceptions import ClientError
from iam_account import ACCOUNT, Account, allow

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Client:
    """What a builder does, one request at a time."""

    def __init__(self, ecr, name: str):
        self.name = name
        data = ecr.get_authorization_token()["authorizationData"][0]
        self.endpoint, self.token = data["proxyEndpoint"], data["authorizationToken"]
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = f"Basic {self.token}"

    def __call__(self, method: str, path: str, **more) -> requests.Response:
        url = path if path.startswith("http") else f"{self.endpoint}{path}"
        return self.http.request(method, url, timeout=30, allow_redirects=False, **more)

    def push_blob(self, data: bytes) -> str:
        """In chunks, as podman does."""
        begun = self("POST", f"/v2/{self.name}/blobs/uploads/")
        assert begun.status_code == 202
        sent = self("PATCH", begun.headers["Location"], data=iter([data[:10], data[10:]]))
        assert (sent.status_code, sent.headers["Range"]) == (202, f"0-{len(data) - 1}")
        ended = self("PUT", sent.headers["Location"], params={"digest": digest_of(data)})
        assert ended.status_code == 201
        return digest_of(data)

    def put(self, reference: str, manifest: dict, kind: str = MANIFEST) -> requests.Response:
        text = json.dumps(manifest).encode()
        path = f"/v2/{self.name}/manifests/{reference}"
        return self("PUT", path, data=text, headers={"Content-Type": kind})

    def image(self, text: str) -> dict:
        """The manifest of an image with one file, whose blobs are pushed."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            entry = tarfile.TarInfo("greeting")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        config = {
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer.getvalue())]},
        }  # fmt: skip
        parts = [json.dumps(config).encode(), gzip.compress(layer.getvalue(), mtime=0)]
        kinds = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip")
        described = [
            {"mediaType": kind, "digest": self.push_blob(part), "size": len(part)}
            for kind, part in zip(kinds, parts, strict=True)
        ]
        return {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}


@pytest.fixture
def ecr(sandbox):
    return sandbox.client("ecr")


@pytest.fixture
def client(ecr) -> Client:
    name = f"team/{uuid.uuid4().hex[:8]}"
    ecr.create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
    return Client(ecr, name)


def code(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def test_only_who_has_a_token_gets_in(client):
    assert client("GET", "/v2/").status_code == 200
    for wrong in ("", "Basic " + base64.b64encode(b"AWS:wrong").decode(), "Bearer x"):
        answer = client("GET", "/v2/", headers={"Authorization": wrong})
        assert code(answer) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


def test_a_token_is_good_for_half_a_day_and_nobody_s_guess(ecr):
    tokens = [ecr.get_authorization_token()["authorizationData"][0] for _ in range(2)]
    assert tokens[0]["authorizationToken"] != tokens[1]["authorizationToken"]
    hours = (tokens[0]["expiresAt"].timestamp() - time.time()) / 3600
    assert 11 < hours <= 12


def test_what_is_pushed_is_an_image_of_ecr_and_comes_back(client, ecr):
    manifest = client.image("hello")
    assert client.put("1", manifest).status_code == 201
    text = json.dumps(manifest)
    (found,) = ecr.describe_images(repositoryName=client.name)["imageDetails"]
    assert (found["imageDigest"], found["imageTags"]) == (digest_of(text.encode()), ["1"])
    (image,) = ecr.batch_get_image(repositoryName=client.name, imageIds=[{"imageTag": "1"}])["images"]
    assert image["imageManifest"] == text
    for reference in ("1", digest_of(text.encode())):
        got = client("GET", f"/v2/{client.name}/manifests/{reference}")
        assert (got.text, got.headers["Content-Type"].partition(";")[0]) == (text, MANIFEST)
        assert got.headers["Docker-Content-Digest"] == digest_of(text.encode())
        assert client("HEAD", f"/v2/{client.name}/manifests/{reference}").headers["Content-Length"] == str(len(text))
    layer = manifest["layers"][0]
    path = f"/v2/{client.name}/blobs/{layer['digest']}"
    assert client("HEAD", path).headers["Content-Length"] == str(layer["size"])
    assert digest_of(client("GET", path).content) == layer["digest"]


def test_an_immutable_tag_stays_what_it_is(client, ecr):
    assert client.put("1", client.image("one")).status_code == 201
    assert client.put("1", client.image("one")).status_code == 201, "the same again"
    another = client.image("two")
    assert code(client.put("1", another)) == (400, "TAG_INVALID")
    assert "cannot be overwritten" in client.put("1", another).text
    for manifest, expected in ((another, "ImageTagAlreadyExists"), (client.image("one"), "ImageAlreadyExists")):
        with pytest.raises(ClientError) as refused:
            ecr.put_image(repositoryName=client.name, imageManifest=json.dumps(manifest), imageTag="1")
        assert refused.value.response["Error"]["Code"] == f"{expected}Exception"
    assert client.put("2", another).status_code == 201
    assert client("GET", f"/v2/{client.name}/tags/list").json() == {"name": client.name, "tags": ["1", "2"]}
    page = client("GET", f"/v2/{client.name}/tags/list?n=1")
    assert (page.json()["tags"], page.headers["Link"]) == (
        ["1"], f'</v2/{client.name}/tags/list?n=1&last=1>; rel="next"',
    )  # fmt: skip


def test_a_mutable_tag_moves(client, ecr):
    ecr.put_image_tag_mutability(repositoryName=client.name, imageTagMutability="MUTABLE")
    for text in ("one", "two"):
        assert client.put("1", client.image(text)).status_code == 201
    tagged = [one for one in ecr.describe_images(repositoryName=client.name)["imageDetails"] if one.get("imageTags")]
    assert [one["imageDigest"] for one in tagged] == [digest_of(json.dumps(client.image("two")).encode())]


def test_an_index_has_its_members_first(client):
    member = client.image("member")
    text = json.dumps(member).encode()
    entry = {"mediaType": MANIFEST, "digest": digest_of(text), "size": len(text)}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    assert code(client.put("all", index, INDEX)) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert client.put(digest_of(text), member).status_code == 201
    assert client.put("all", index, INDEX).status_code == 201
    assert client("GET", f"/v2/{client.name}/manifests/all").headers["Content-Type"].startswith(INDEX)
    assert client("GET", f"/v2/{client.name}/tags/list").json()["tags"] == ["all"]


def test_uploads_that_are_wrong_leave_nothing(client):
    uploads = f"/v2/{client.name}/blobs/uploads/"
    begun = client("POST", uploads).headers["Location"]
    assert client("PATCH", begun, data=b"abc", headers={"Content-Range": "0-2"}).status_code == 202
    assert code(client("PATCH", begun, data=b"x", headers={"Content-Range": "7-7"})) == (416, "BLOB_UPLOAD_INVALID")
    asked = client("GET", begun)
    assert (asked.status_code, asked.headers["Range"]) == (204, "0-2")
    assert code(client("PUT", begun, params={"digest": digest_of(b"abcd")})) == (400, "DIGEST_INVALID")
    assert code(client("GET", begun)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert client("HEAD", f"/v2/{client.name}/blobs/{digest_of(b'abc')}").status_code == 404
    whole = client(
        "PUT", client("POST", uploads).headers["Location"], params={"digest": digest_of(b"abc")}, data=b"abc"
    )
    assert whole.status_code == 201
    assert client("GET", f"/v2/{client.name}/blobs/{digest_of(b'abc')}").content == b"abc"


def test_what_is_not_there_and_what_nobody_may_do(client, ecr):
    assert code(client("POST", "/v2/nobody/made/blobs/uploads/")) == (404, "NAME_UNKNOWN")
    assert code(client("GET", f"/v2/{client.name}/manifests/none")) == (404, "MANIFEST_UNKNOWN")
    assert code(client("DELETE", f"/v2/{client.name}/manifests/none")) == (405, "UNSUPPORTED")
    assert code(client.put("1", {"layers": [{"digest": digest_of(b"never")}]})) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert code(client("PUT", f"/v2/{client.name}/manifests/1", data=b"{")) == (400, "MANIFEST_INVALID")
    blob = client.push_blob(b"of this repository alone")
    ecr.create_repository(repositoryName=f"{client.name}-2")
    assert code(client("GET", f"/v2/{client.name}-2/blobs/{blob}")) == (404, "BLOB_UNKNOWN")


def test_each_region_has_its_repositories(sandbox, client):
    assert code(Client(sandbox.client("ecr", "eu-west-1"), client.name)("GET", f"/v2/{client.name}/tags/list")) == (
        404, "NAME_UNKNOWN",
    )  # fmt: skip


PUSH = ("BatchCheckLayerAvailability", "InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload", "PutImage")


def test_iam_decides_what_a_token_is_good_for(start_sandbox):
    account = Account(start_sandbox(60.0, "--enforce-iam"))
    account.root("ecr").create_repository(repositoryName="guarded")
    arn = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/guarded"
    login = allow("ecr:GetAuthorizationToken")
    pusher = Client(account.user(login, allow(*(f"ecr:{action}" for action in PUSH), on=arn))("ecr"), "guarded")
    assert pusher.put("1", pusher.image("x")).status_code == 201
    assert code(pusher("GET", "/v2/guarded/manifests/1")) == (403, "DENIED")
    puller = Client(account.user(login, allow("ecr:BatchGetImage", on=arn))("ecr"), "guarded")
    assert puller("GET", "/v2/guarded/manifests/1").status_code == 200
    denied = puller("POST", "/v2/guarded/blobs/uploads/")
    assert code(denied) == (403, "DENIED")
    assert f"is not authorized to perform: ecr:InitiateLayerUpload on resource: {arn}" in denied.text


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_skopeo_copies_from_here_and_to_here(client, ecr, tmp_path):
    assert client.put("1", client.image("for skopeo")).status_code == 201
    host = client.endpoint.removeprefix("http://")
    login = tmp_path / "auth.json"
    login.write_text(json.dumps({"auths": {host: {"auth": client.token}}}))
    ecr.create_repository(repositoryName=f"{client.name}-copy")

    def copy(source: str, target: str) -> None:
        options = ["--authfile", login, "--src-tls-verify=false", "--dest-tls-verify=false"]
        subprocess.run(["skopeo", "copy", *options, source, target], check=True, capture_output=True, timeout=60)

    copy(f"docker://{host}/{client.name}:1", f"dir:{tmp_path / 'image'}")
    copy(f"dir:{tmp_path / 'image'}", f"docker://{host}/{client.name}-copy:2")
    (found,) = ecr.describe_images(repositoryName=f"{client.name}-copy")["imageDetails"]
    assert found["imageTags"] == ["2"]


def test_reset_forgets_blobs_and_tokens(start_sandbox):
    sandbox = start_sandbox()
    ecr = sandbox.client("ecr")
    ecr.create_repository(repositoryName="short")
    client = Client(ecr, "short")
    client.push_blob(b"for a moment only")
    assert any((sandbox.home / "registry/blobs").iterdir())
    sandbox.run("reset")
    assert not (sandbox.home / "registry").exists()
    assert code(client("GET", "/v2/")) == (401, "UNAUTHORIZED")
