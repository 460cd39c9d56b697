"""A registry of images beside moto's ECR: `podman push` and `docker pull` work with what GetAuthorizationToken gives.

It speaks https://github.com/opencontainers/distribution-spec/blob/main/spec.md at the sandbox's own address. Blobs lie
in the folder `registry` of the home; manifests are images of moto's ECR, so that DescribeImages, BatchGetImage and
immutable tags are one truth. A repository must be there beforehand, as on AWS. Each request is the call of ECR's that
AWS authorizes it as: https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
"""

import base64
import datetime
import hashlib
import json
import logging
import re
import secrets
import shutil
import time
import uuid
from pathlib import Path

from .core import OWN_AGENT, Sandbox
from .moto_gaps import replaces

log = logging.getLogger("sandbox")

NAME = r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
ROUTES = {
    "manifest": re.compile(rf"/v2/{NAME}/manifests/(?P<reference>[\w.:-]+)"),
    "upload": re.compile(rf"/v2/{NAME}/blobs/uploads/(?P<reference>[\w-]*)"),
    "blob": re.compile(rf"/v2/{NAME}/blobs/(?P<reference>[\w:]+)"),
    "tags": re.compile(rf"/v2/{NAME}/tags/list(?P<reference>)"),
}
ACTIONS = {
    ("manifest", "HEAD"): "BatchGetImage",
    ("manifest", "GET"): "BatchGetImage",
    ("manifest", "PUT"): "PutImage",
    ("blob", "HEAD"): "BatchCheckLayerAvailability",
    ("blob", "GET"): "GetDownloadUrlForLayer",
    ("upload", "POST"): "InitiateLayerUpload",
    ("upload", "GET"): "UploadLayerPart",
    ("upload", "PATCH"): "UploadLayerPart",
    ("upload", "PUT"): "CompleteLayerUpload",
    ("tags", "GET"): "ListImages",
}
"""By route and method. ECR deletes nothing here; that is BatchDeleteImage's."""
TOKEN_HOURS = 12
"""https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_GetAuthorizationToken.html"""


class Problem(Exception):
    """An answer that is an error: HTTP status, code of the specification's, message."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code = status, code


def install(sandbox: Sandbox) -> None:
    from moto.core.responses import ActionResult
    from moto.ecr.responses import ECRResponse

    sandbox.registry = registry = Registry(sandbox)
    sandbox.on_reset(registry.reset)
    tag_already_exists()

    @replaces(ECRResponse, "get_authorization_token")
    def get_authorization_token(original, self):
        token = registry.token(self.get_access_key(), self.region)
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=TOKEN_HOURS)
        data = {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": sandbox.endpoint}
        return ActionResult({"authorizationData": [data]})


def tag_already_exists() -> None:
    """An immutable tag of another image is an ImageTagAlreadyExistsException; moto says so of the image."""
    from moto.core.exceptions import ServiceException
    from moto.ecr.exceptions import ImageAlreadyExistsException
    from moto.ecr.models import ECRBackend

    class ImageTagAlreadyExistsException(ServiceException):
        code = "ImageTagAlreadyExistsException"

    @replaces(ECRBackend, "put_image")
    def put_image(original, self, repository_name, image_manifest, image_tag, *more):
        try:
            return original(self, repository_name, image_manifest, image_tag, *more)
        except ImageAlreadyExistsException:
            tagged = self.repositories[repository_name]._get_image(image_tag, None)
            if tagged.image_manifest == image_manifest:
                raise
            raise ImageTagAlreadyExistsException(
                f"The image tag '{image_tag}' already exists in the '{repository_name}' repository and cannot be "
                "overwritten because the tag is immutable."
            ) from None


class Registry:
    """WSGI application for what `mine` says is for it."""

    def __init__(self, sandbox: Sandbox):
        self.sandbox = sandbox
        self.folder = sandbox.home / "registry"
        shutil.rmtree(self.folder, ignore_errors=True)  # as moto, it begins empty
        self._passwords: dict[str, tuple[str, str, float]] = {}

    def reset(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._passwords.clear()

    def token(self, access_key: str, region: str) -> str:
        """User and password in Base64, for that region's repositories and with what the key may do."""
        password, now = secrets.token_urlsafe(32), time.monotonic()
        for old in [one for one, (_, _, until) in self._passwords.items() if until < now]:
            self._passwords.pop(old, None)
        self._passwords[password] = (access_key, region, now + 3600 * TOKEN_HOURS)
        return base64.b64encode(f"AWS:{password}".encode()).decode()

    @staticmethod
    def mine(environ) -> bool:
        """API Gateway has paths that begin like these; its calls are signed."""
        signed = environ.get("HTTP_AUTHORIZATION", "").startswith("AWS4-")
        return environ.get("PATH_INFO", "").startswith("/v2/") and not signed

    def __call__(self, environ, start_response):
        from werkzeug import Request, Response

        request = Request(environ)
        try:
            response = self._answer(request)
        except Problem as problem:
            error = {"code": problem.code, "message": str(problem), "detail": None}
            response = Response(json.dumps({"errors": [error]}), problem.status, content_type="application/json")
            if problem.status == 401:
                response.headers["WWW-Authenticate"] = f'Basic realm="{self.sandbox.endpoint}/",service="ecr"'
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        level = logging.DEBUG if OWN_AGENT in request.user_agent.string else logging.INFO
        log.log(level, "registry %s %s %s", request.method, request.path, response.status)
        return response(environ, start_response)

    def _answer(self, request):
        from werkzeug import Response

        access_key, region = self._caller(request)
        if request.path == "/v2/":
            return Response("{}", content_type="application/json")
        found = ((route, match) for route, pattern in ROUTES.items() if (match := pattern.fullmatch(request.path)))
        route, match = next(found, ("", None))
        if match is None:
            raise Problem(404, "NAME_INVALID", f"{request.path} is no path of a repository")
        action = ACTIONS.get((route, request.method))
        if action is None:
            raise Problem(405, "UNSUPPORTED", f"{request.method} of a {route} is not supported")
        name, reference = match["name"], match["reference"]
        self._authorize(access_key, region, action, name)
        repository = self._backend(region).repositories.get(name)
        if repository is None:
            account = self.sandbox.account_id
            raise Problem(
                404, "NAME_UNKNOWN",
                f"The repository with name '{name}' does not exist in the registry with id '{account}'",
            )  # fmt: skip
        return getattr(self, f"_{route}")(request, repository, reference, region)

    def _caller(self, request) -> tuple[str, str]:
        given = request.authorization
        if given is None or given.type != "basic" or given.username != "AWS":
            raise Problem(401, "UNAUTHORIZED", "Not Authorized")
        access_key, region, until = self._passwords.get(given.password, ("", "", 0.0))
        if until < time.monotonic():
            raise Problem(401, "UNAUTHORIZED", "Your authorization token is unknown or has expired. Log in again.")
        return access_key, region

    def _authorize(self, access_key: str, region: str, action: str, name: str) -> None:
        from .iam.calls import Call

        if self.sandbox.iam:
            call = Call("ecr", action, region, {"repositoryName": name})
            refusal = self.sandbox.iam.refuse_call(access_key, call)
            if refusal:
                raise Problem(403, "DENIED", refusal.message)

    def _backend(self, region: str):
        from moto.ecr.models import ecr_backends

        return ecr_backends[self.sandbox.account_id][region]

    # ---- blobs: one function for each route ----

    def _blob(self, request, repository, digest: str, region: str):
        """https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs"""
        from werkzeug import Response
        from werkzeug.wsgi import wrap_file

        if digest not in repository.layers:
            raise Problem(404, "BLOB_UNKNOWN", f"{repository.name} has no blob {digest}")
        path = self._path(digest)
        headers = {"Docker-Content-Digest": digest, "Content-Length": str(path.stat().st_size)}
        body = [] if request.method == "HEAD" else wrap_file(request.environ, path.open("rb"))
        return Response(body, headers=headers, content_type="application/octet-stream", direct_passthrough=bool(body))

    def _upload(self, request, repository, session: str, region: str):
        """Sessions of uploads: POST opens one, PATCH appends, PUT ends it with the last part and the digest."""
        from werkzeug import Response

        if request.method == "POST":  # a mount of another repository's blob may be answered so, too
            session = str(uuid.uuid4())
            self.folder.joinpath("uploads").mkdir(parents=True, exist_ok=True)
            self.folder.joinpath("uploads", session).touch()
        part = self.folder / "uploads" / session
        if not session or not part.exists():
            raise Problem(404, "BLOB_UPLOAD_UNKNOWN", f"there is no upload {session}")
        if request.method in ("PATCH", "PUT"):
            self._append(request, part)
        if request.method == "PUT":
            digest = self._complete(request.args.get("digest", ""), part, repository)
            headers = {"Location": f"/v2/{repository.name}/blobs/{digest}", "Docker-Content-Digest": digest}
            return Response(status=201, headers=headers)
        headers = {
            "Location": f"/v2/{repository.name}/blobs/uploads/{session}",
            "Range": f"0-{max(0, part.stat().st_size - 1)}",
            "Docker-Upload-UUID": session,
        }
        return Response(status=204 if request.method == "GET" else 202, headers=headers)

    @staticmethod
    def _append(request, part: Path) -> None:
        given = re.match(r"(?:bytes )?(\d+)-", request.headers.get("Content-Range", ""))
        if given and int(given[1]) != part.stat().st_size:
            raise Problem(416, "BLOB_UPLOAD_INVALID", f"the next byte is {part.stat().st_size}")
        with part.open("ab") as file:
            shutil.copyfileobj(request.stream, file, 1 << 20)

    def _complete(self, digest: str, part: Path, repository) -> str:
        with part.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != digest:
            part.unlink()
            raise Problem(400, "DIGEST_INVALID", f"what was uploaded is {found}, not {digest}")
        repository.layers[digest] = part.stat().st_size
        self._path(digest).parent.mkdir(parents=True, exist_ok=True)
        part.replace(self._path(digest))
        return digest

    def _path(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.removeprefix("sha256:")

    # ---- manifests ----

    def _manifest(self, request, repository, reference: str, region: str):
        from werkzeug import Response

        if request.method == "PUT":
            digest = self._put(request, repository, reference, region)
            location = f"/v2/{repository.name}/manifests/{digest}"
            return Response(status=201, headers={"Location": location, "Docker-Content-Digest": digest})
        image = self._image(repository, reference)
        if image is None:
            raise Problem(404, "MANIFEST_UNKNOWN", "Requested image not found")
        text = image.image_manifest
        headers = {"Docker-Content-Digest": image.image_digest}
        return Response(text, headers=headers, content_type=image.image_manifest_media_type)

    def _put(self, request, repository, reference: str, region: str) -> str:
        body = request.get_data()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if DIGEST.fullmatch(reference) and reference != digest:
            raise Problem(400, "DIGEST_INVALID", f"the manifest is {digest}")
        try:
            manifest = json.loads(body)
            wanted = [one["digest"] for one in (*manifest.get("layers", []), manifest.get("config")) if one]
            members = [one["digest"] for one in manifest.get("manifests", [])]
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise Problem(400, "MANIFEST_INVALID", f"no manifest: {error}") from None
        missing = {one for one in wanted if one not in repository.layers}
        missing |= {one for one in members if self._image(repository, one) is None}
        if missing:
            raise Problem(404, "MANIFEST_BLOB_UNKNOWN", f"{repository.name} lacks {', '.join(sorted(missing))}")
        tag = None if DIGEST.fullmatch(reference) else reference
        there = self._image(repository, digest)
        if there is None or (tag and tag not in there.image_tags):
            kind = request.mimetype or manifest.get("mediaType")
            self._put_image(region, repository.name, body.decode(), tag, kind, digest)
        return digest

    def _put_image(self, region: str, *arguments) -> None:
        from moto.core.exceptions import ServiceException

        try:
            self._backend(region).put_image(*arguments)
        except ServiceException as error:
            raise Problem(400, "TAG_INVALID", error.message) from error

    @staticmethod
    def _image(repository, reference: str):
        digest = bool(DIGEST.fullmatch(reference))
        found = (
            image
            for image in list(repository.images)
            if (image.image_digest == reference if digest else reference in image.image_tags)
        )
        return next(found, None)

    def _tags(self, request, repository, _reference: str, region: str):
        """In the order of names, `n` at a time after `last`."""
        from werkzeug import Response

        found = sorted(tag for image in repository.images for tag in image.image_tags)
        found = [tag for tag in found if tag > request.args.get("last", "")]
        page = found[: request.args.get("n", len(found), type=int)]
        headers = {}
        if page != found:
            last = page[-1] if page else ""
            headers["Link"] = f'</v2/{repository.name}/tags/list?n={len(page)}&last={last}>; rel="next"'
        body = json.dumps({"name": repository.name, "tags": page})
        return Response(body, headers=headers, content_type="application/json")
