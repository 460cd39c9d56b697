"""The tag that the content of a folder makes, and who builds."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from ansible_collections.nexus_learn.aws.plugins.module_utils import ecr_image
from ansible_collections.nexus_learn.aws.plugins.module_utils.engine import Failed, Refused


def git(folder, *arguments) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path):
    """A folder in a clone, with files that are ignored beside it."""
    folder = tmp_path / "clone/app"
    (folder / "pages").mkdir(parents=True)
    for name in ("Dockerfile", "pages/b.md", "pages/a.md", "ünïcode"):
        (folder / name).write_text(f"{name}\n")
    (folder / "link").symlink_to("pages/a.md")
    (tmp_path / "clone/.gitignore").write_text("__pycache__/\n*.pyc\n")
    git(tmp_path / "clone", "init")
    git(tmp_path / "clone", "add", ".")
    return folder


def copy(clone, target):
    return shutil.copytree(clone, target, symlinks=True)


def test_the_same_content_makes_the_same_tag_everywhere(clone, tmp_path):
    tag = ecr_image.content_hash(clone)
    assert (len(tag), set(tag) <= set("0123456789abcdef")) == (16, True)
    elsewhere = copy(clone, tmp_path / "of a tarball")  # no clone
    for path in elsewhere.rglob("*"):
        if not path.is_symlink():
            os.chmod(path, 0o700 if path.is_dir() else 0o600)
            os.utime(path, (1, 1))
    for folder in (clone, elsewhere):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__/a.pyc").write_bytes(b"x")
        assert ecr_image.content_hash(folder) == tag
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "x")
    assert ecr_image.content_hash(clone) == tag


def test_a_folder_that_git_ignores_has_a_tag_of_its_content(clone):
    ignored = clone / "__pycache__"
    ignored.mkdir()
    empty = ecr_image.content_hash(ignored)
    (ignored / "config").write_text("1")
    assert ecr_image.content_hash(ignored) != empty


def test_options_of_the_build_make_another_tag(clone):
    assert ecr_image.content_hash(clone, ["--build-arg", "BASE=x"]) != ecr_image.content_hash(clone)


def test_what_is_built_is_what_the_tag_is_of(clone, tmp_path):
    (clone / "pages/tool").write_text("#!/bin/sh")
    (clone / "pages/tool").chmod(0o700)
    (clone / "pages/a.md").chmod(0o600)
    (clone / "pages").chmod(0o700)
    (clone / "left.pyc").write_text("not of the image")
    ecr_image.copy(clone, tmp_path / "copy")
    made = {str(one.relative_to(tmp_path / "copy")): one for one in (tmp_path / "copy").rglob("*")}
    assert set(made) == {"Dockerfile", "link", "pages", "pages/a.md", "pages/b.md", "pages/tool", "ünïcode"}
    assert made["link"].is_symlink()
    modes = {name: oct(made[name].stat().st_mode & 0o777) for name in ("pages", "pages/a.md", "pages/tool")}
    assert modes == {"pages": "0o755", "pages/a.md": "0o644", "pages/tool": "0o755"}
    assert ecr_image.content_hash(tmp_path / "copy") == ecr_image.content_hash(clone)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "pages/a.md").write_text("other"),
        lambda folder: (folder / "pages/a.md").rename(folder / "pages/c.md"),
        lambda folder: (folder / "pages/a.md").chmod(0o755),
        lambda folder: (folder / "pages/a.md").unlink(),
        lambda folder: (folder / "new").write_text(""),
        lambda folder: [(folder / "link").unlink(), (folder / "link").symlink_to("pages/b.md")],
    ],
    ids=["bytes", "name", "mode", "removed", "added", "link"],
)
def test_other_content_makes_another_tag(clone, change):
    tag = ecr_image.content_hash(clone)
    change(clone)
    assert ecr_image.content_hash(clone) != tag


def test_each_architecture_has_tags_of_its_own(clone):
    tags = [
        ecr_image.expand(None, {"context": str(clone), "build_options": [], "cpu_architecture": one})["tag"]
        for one in ecr_image.PLATFORMS
    ]
    assert tags == [ecr_image.content_hash(clone), f"{ecr_image.content_hash(clone)}-arm64"]


def test_there_must_be_a_folder(tmp_path):
    with pytest.raises(Refused, match="Set image_context"):
        ecr_image.content_hash(tmp_path / "nothing")


@pytest.fixture
def push(tmp_path):
    """push(endpoint, digest, exit code) -> what the program that pushes is given: its arguments and the login."""

    def run(endpoint: str, digest: str = "", code: int = 0) -> tuple[list[str], str]:
        program = tmp_path / "builder"
        program.write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n'
            f'stat -c %a "$REGISTRY_AUTH_FILE" > {tmp_path}/mode; cat "$DOCKER_CONFIG/config.json" > {tmp_path}/login\n'
            f"exit {code}\n"
        )
        program.chmod(0o755)
        login = {"proxyEndpoint": endpoint, "authorizationToken": "QVdTOnNlY3JldA=="}
        (tmp_path / "own").mkdir()
        ecr_image._push(str(program), "host/app:1", login, tmp_path / "own", lambda: digest, lambda line: None)
        assert (tmp_path / "mode").read_text() == "600\n"
        return (tmp_path / "asked").read_text().split(), (tmp_path / "login").read_text()

    return run


@pytest.mark.parametrize(
    ("endpoint", "host", "options"),
    [
        ("https://123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr.us-east-1.amazonaws.com", []),
        ("http://127.0.0.1:4566", "127.0.0.1:4566", ["--tls-verify=false"]),
        ("http://registry.example.com", "registry.example.com", []),
    ],
)
def test_the_token_is_in_a_file_alone_and_tls_is_left_out_for_the_sandbox_alone(push, endpoint, host, options):
    arguments, login = push(endpoint)
    assert arguments == ["push", *options, "host/app:1"]
    assert login == f'{{"auths": {{"{host}": {{"auth": "QVdTOnNlY3JldA=="}}}}}}'


def test_a_push_that_somebody_else_was_ahead_of_is_done(push):
    push("https://registry", digest="sha256:0", code=1)


def test_a_push_that_fails_fails(push):
    with pytest.raises(Failed, match=r"was not pushed: .* ended with 1"):
        push("https://registry", code=1)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """programs(name=script) puts programs in front of PATH, which write their arguments to ``<name>.asked``."""

    def make(**scripts: str) -> None:
        for name, script in scripts.items():
            program = tmp_path / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.asked\n{script}\n')
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    return make


def test_docker_pushes_to_the_daemon_of_its_context_with_the_login_of_the_push(programs, tmp_path):
    programs(docker=f'test "$1" = context && echo unix:///run/other.sock || echo "$DOCKER_HOST" > {tmp_path}/host')
    login = {"proxyEndpoint": "https://1.dkr.ecr.example", "authorizationToken": "QVdTOnNlY3JldA=="}
    (tmp_path / "own").mkdir()
    ecr_image._push("docker", "1.dkr.ecr.example/app:1", login, tmp_path / "own", lambda: "", lambda line: None)
    assert (tmp_path / "host").read_text() == "unix:///run/other.sock\n"
    assert (tmp_path / "docker.asked").read_text().splitlines()[-1] == "push 1.dkr.ecr.example/app:1"


@pytest.mark.parametrize("builder", ["docker", "podman", "buildah"])
def test_grype_reads_the_archive_that_each_builder_saves(programs, tmp_path, builder):
    archive = tmp_path / "image.tar"
    programs(grype="", **{builder: f"touch {archive}"})
    ecr_image._scan(builder, "grype", "host/app:1", {"scan_severity": "CRITICAL"}, archive, lambda line: None)
    assert str(archive) in (tmp_path / f"{builder}.asked").read_text()
    asked = (tmp_path / "grype.asked").read_text()
    assert asked == f"docker-archive:{archive} --only-fixed --fail-on critical\n"
    assert not archive.exists()
    programs(grype="exit 1")
    with pytest.raises(Failed, match="did not pass grype, and was not pushed"):
        ecr_image._scan(builder, "grype", "host/app:1", {"scan_severity": "CRITICAL"}, archive, lambda line: None)
