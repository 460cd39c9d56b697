# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application image: built by what is there, scanned, and pushed to ECR under a tag that its content makes.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/docker-push-ecr-image.html
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.nexus_learn.aws.plugins.module_utils.aws import Aws
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Change, Failed, Refused, Say, create

# In the order in which they are taken, with the question that each answers when it can work: docker may be there
# without its daemon, podman without its machine.
BUILDERS = {
    "docker": ["docker", "version", "--format", "{{.Server.Version}}"],
    "podman": ["podman", "info"],
    "buildah": ["buildah", "info"],
}
# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html and what builders call the same.
PLATFORMS = {"X86_64": "linux/amd64", "ARM64": "linux/arm64"}
SEVERITIES = ["LOW", "MEDIUM", "HIGH", "CRITICAL"]
_DIGITS = 16
# Seconds for a builder to say whether it can work; the daemon of another machine may never answer.
_PATIENCE = 15
# What a builder writes at each step of the Dockerfile: podman and buildah, and docker.
_STEP = re.compile(r"(\[\d+/\d+\] )?STEP \d+|#\d+ \[")
_LAST_LINES = 25


def expand(aws: Aws, params: Mapping) -> dict[str, Any]:
    """With ``tag``: architectures have tags of their own, for one tag is one image."""
    suffix = "" if params["cpu_architecture"] == "X86_64" else f"-{params['cpu_architecture'].lower()}"
    return {**params, "tag": f"{content_hash(Path(params['context']), params['build_options'])}{suffix}"}


def content_hash(folder: Path, options: Sequence[str] = ()) -> str:
    """Names, modes and bytes of the files that git would take, the same on every machine; and the build's options.

    Of modes git keeps whether a file may be executed, and nothing else that a umask could change.
    """
    if not folder.is_dir():
        raise Refused(f"There is no folder {folder} to build an image from. Set image_context to the one it is in.")
    total = hashlib.sha256()
    for name in sorted(_files(folder)):
        path = folder / name
        if path.is_symlink():
            mode, content = "120000", os.readlink(path).encode()
        elif path.is_file():
            mode = "100755" if path.stat().st_mode & stat.S_IXUSR else "100644"
            content = path.read_bytes()
        else:  # deleted, and not committed yet
            continue
        total.update(f"{mode} {hashlib.sha256(content).hexdigest()} {name}\0".encode())
    for option in options:
        total.update(f"option {option}\0".encode())
    return total.hexdigest()[:_DIGITS]


def _files(folder: Path) -> list[str]:
    """Below ``folder``; outside of a clone, or where git ignores the folder, all files but byte code."""
    # safe.directory: CI's clones may be another user's
    listed = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(listed, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout:
            return list(filter(None, done.stdout.split("\0")))
    except FileNotFoundError:
        pass
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return [path.as_posix() for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"]


def copy(folder: Path, target: Path) -> None:
    """What the hash is of, and nothing beside it, with modes that no umask of this machine has changed."""
    target.mkdir()
    for name in _files(folder):
        path, there = folder / name, target / name
        for parent in reversed(there.relative_to(target).parents):
            (target / parent).mkdir(exist_ok=True)
            (target / parent).chmod(0o755)
        if path.is_symlink():
            there.symlink_to(os.readlink(path))
        elif path.is_file():
            shutil.copyfile(path, there)
            there.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def describe(aws: Aws, params: Mapping) -> dict[str, str]:
    """``uri`` of the repository and ``digest`` of the image that has the tag; each empty where there is none."""
    client, name = aws.client("ecr"), params["repository_name"]
    try:
        uri = client.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryUri"]
    except client.exceptions.RepositoryNotFoundException:
        return {"uri": params["repository_uri"] or "", "digest": ""}
    try:
        found = client.describe_images(repositoryName=name, imageIds=[{"imageTag": params["tag"]}])["imageDetails"]
    except client.exceptions.ImageNotFoundException:
        found = []
    return {"uri": uri, "digest": found[0]["imageDigest"] if found else ""}


def plan(aws: Aws, params: Mapping, current: Mapping) -> list[Change]:
    """Nothing where the tag is there: its content is what would be built. A builder is not needed then."""
    if current["digest"]:
        return []
    if not current["uri"]:
        name = params["repository_name"]
        raise Refused(
            f"ECR has no repository {name} in {aws.region}. Set image_repository in the inventory to its name, and the "
            "stack makes it; or set app_image to an image in one that is there."
        )
    fields = {
        "platform": PLATFORMS[params["cpu_architecture"]],
        "context": params["context"],
        "builder": _builder(params, current),
        "scanner": _scanner(params),
    }
    return [create(_label(params, current), fields)]


def _label(params: Mapping, current: Mapping) -> str:
    return f"image {current['uri']}:{params['tag']}"


def _builder(params: Mapping, current: Mapping) -> str:
    asked = params["builder"]
    told = {name: _says(BUILDERS[name]) for name in ([asked] if asked != "auto" else BUILDERS)}
    for name, why_not in told.items():
        if not why_not:
            return name
    raise Refused(
        f"There is nothing here to build the image with: {'; '.join(f'{name}: {why}' for name, why in told.items())}. "
        "Install podman (Debian, Ubuntu: apt-get install podman); or let CI build it, as docs/ci.md shows; or build it "
        f"elsewhere, push it as {current['uri']}:<tag> and deploy it with -e image_tag=<tag>."
    )


def _says(question: Sequence[str]) -> str:
    """Why the program cannot work; empty if it can."""
    try:
        done = subprocess.run(
            question, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except FileNotFoundError:
        return "it is not installed"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1].rstrip(".?")


def _scanner(params: Mapping) -> str | None:
    return next(filter(shutil.which, ("trivy", "grype")), None) if params["scan_severity"] != "none" else None


def apply(aws: Aws, params: Mapping, current: Mapping, changes: Sequence[Change], say: Say) -> None:
    (change,) = changes
    builder, scanner = change.after["builder"], change.after["scanner"]
    login = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    registry = urlsplit(login["proxyEndpoint"])
    image = f"{registry.netloc}/{params['repository_name']}:{params['tag']}"
    with tempfile.TemporaryDirectory(prefix="ecr-image-") as folder:
        copy(Path(params["context"]), Path(folder, "context"))
        say(f"{builder} builds {image} for {change.after['platform']}")
        build = [builder, "build", "--platform", change.after["platform"], "--tag", image]
        _run([*build, *params["build_options"], f"{folder}/context"], None, "was not built", say)
        if scanner:
            say(f"{scanner} scans it")
            _scan(builder, scanner, image, params, Path(folder, "image.tar"), say)
        say(f"{builder} pushes it")
        _push(builder, image, login, Path(folder), lambda: describe(aws, params)["digest"], say)


def _scan(builder: str, scanner: str, image: str, params: Mapping, archive: Path, say: Say) -> None:
    """Of what has a fix; an archive is what both scanners take from all builders."""
    save = {
        "docker": ["docker", "save", "--output", str(archive), image],
        "podman": ["podman", "save", "--format", "docker-archive", "--output", str(archive), image],
        "buildah": ["buildah", "push", image, f"docker-archive:{archive}:{image}"],
    }
    severity = params["scan_severity"]
    scan = {
        "trivy": [
            *("trivy", "image", "--input", str(archive), "--ignore-unfixed", "--no-progress", "--exit-code", "1"),
            *("--severity", ",".join(SEVERITIES[SEVERITIES.index(severity) :])),
        ],
        "grype": ["grype", f"docker-archive:{archive}", "--only-fixed", "--fail-on", severity.lower()],
    }
    _run(save[builder], None, "could not be saved for the scan", say)
    _run(scan[scanner], None, f"did not pass {scanner}, and was not pushed", say)
    archive.unlink()


def _push(builder: str, image: str, login: Mapping, folder: Path, digest: Any, say: Say) -> None:
    """With the credentials in a file of the push's own: in no argument, and not in the user's configuration.

    The token is what the file holds for a registry, user and password in Base64.
    https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
    """
    registry = urlsplit(login["proxyEndpoint"])
    file = folder / "config.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"auths": {registry.netloc: {"auth": login["authorizationToken"]}}}))
    env = {**os.environ, "DOCKER_CONFIG": str(folder), "REGISTRY_AUTH_FILE": str(file)}
    push = [builder, "push"]
    if builder == "docker":
        # which daemon it is, stands in the configuration that it does not see now
        context = ["docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
        found = subprocess.run(context, capture_output=True, text=True, check=False)
        env |= {"DOCKER_HOST": found.stdout.strip()} if found.returncode == 0 else {}
    elif registry.scheme == "http" and registry.hostname == "127.0.0.1":  # the sandbox; docker takes it as it is
        push.append("--tls-verify=false")
    try:
        _run([*push, image], env, "was not pushed", say)
    except Failed:
        if not digest():  # somebody else may have pushed the same content meanwhile
            raise


def _run(argv: Sequence[str], env: Mapping[str, str] | None, what: str, say: Say) -> None:
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace",
    ) as process:  # fmt: skip
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                if _STEP.match(line):
                    say(f"  {line.rstrip()}")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = "".join(f"\n    {line}" for line in last)
        raise Failed(f"The image {what}: {argv[0]} {argv[1]} ended with {process.returncode}. Its last lines:{lines}")


def wait(aws: Aws, params: Mapping, say: Say) -> None:
    """Nothing to wait for: it is pushed when the builder has ended."""


def resources(aws: Aws, params: Mapping, current: Mapping) -> list[str]:
    return [_label(params, current)]


def output(aws: Aws, params: Mapping, current: Mapping) -> dict[str, Any]:
    return {
        "repository_uri": current["uri"],
        "image_tag": params["tag"],
        "image_digest": current["digest"] or None,
        "scanner": _scanner(params),
    }
