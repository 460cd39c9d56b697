"""playbooks/image.yml: what it says without a builder; and with podman an image that is really built, pushed and run.

The base image is made of Debian packages by mmdebstrap, since there may be no registry to pull python:3.13-slim from.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import steps
from conftest import Console

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ("playbooks/image.yml", "-i", "inventories/dev")
NAME = "nexus-learn-worker"
URI = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{NAME}"
BASE = "docker.io/library/python:3.13-slim"
ONLY_ANSIBLE = {"PATH": str(Path(sys.executable).parent)}


# ---- without a builder ----


def test_another_stack_s_repository_must_be_there(console):
    run = console.playbook(*IMAGE, "-e", "image_repository=", succeeds=False)
    assert f"ECR has no repository {NAME} in us-east-1. Set image_repository in the inventory to its name" in run.text
    assert steps.writes(run.step) == []


@pytest.mark.parametrize("check", [("--check",), ()], ids=["check", "run"])
def test_without_a_builder_it_names_the_alternatives(console, check):
    run = console.playbook(*IMAGE, *check, succeeds=False, env=ONLY_ANSIBLE)
    for text in (
        "docker: it is not installed; podman: it is not installed; buildah: it is not installed.",
        "Install podman",
        "let CI build it, as docs/ci.md shows",
        f"build it elsewhere, push it as {URI}:<tag> and deploy it with -e image_tag=<tag>",
    ):
        assert text in run.text
    assert steps.writes(run.step) == [], "no repository is made for what cannot be built"


def test_a_docker_without_its_daemon_is_no_builder(console):
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    run = console.playbook(*IMAGE, "-e", "image_builder=docker", succeeds=False, env=nowhere)
    assert re.search("build the image with: docker: [^;]+. Install podman", run.text), run.text


def test_one_image_is_for_one_architecture(console):
    run = console.playbook(*IMAGE, "-e", "ecs_backend_cpu_architecture=ARM64", succeeds=False)
    assert "share one image, and ask for ARM64 and X86_64" in run.text


# ---- with podman ----


def program(*argv: str | Path, **more) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """Podman and buildah with a storage of the test's own, which is gone afterwards."""
    lacking = [name for name in ("podman", "runc", "mmdebstrap") if not shutil.which(name)]
    if lacking or os.geteuid():
        pytest.skip(f"to build an image here takes {', '.join(lacking) or 'root'}")
    folder = tmp_path_factory.mktemp("podman")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
    )
    (folder / "containers.conf").write_text(  # what works in a container and beside hybrid cgroups, too
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )
    with pytest.MonkeyPatch.context() as environment:  # of the sandbox, which starts containers, too
        environment.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        environment.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        environment.setenv("BUILDAH_RUNTIME", "runc")
        environment.setenv("BUILDAH_LAYERS", "true")
        if subprocess.run(["podman", "info"], capture_output=True, check=False).returncode:
            pytest.skip("podman does not work here")
        yield folder
        subprocess.run(["podman", "rm", "--all", "--force"], capture_output=True, check=False)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted((one for one in mounts if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def base(storage):
    """An image with the name of the Dockerfile's."""
    lean = [f"--dpkgopt=path-exclude=/usr/share/{one}/*" for one in ("doc", "man", "locale")]
    options = ["--quiet", "--variant=minbase", *lean, "--dpkgopt=force-unsafe-io"]
    packages = "--include=python3-venv,python-is-python3,ca-certificates"
    archive = storage / "base.tar"
    program("mmdebstrap", *options, packages, "bookworm", archive)
    program("podman", "import", archive, BASE)
    archive.unlink()


def options_of_pip(folder: Path) -> list[str]:
    """The build's pip reaches the index as the pip of these tests does; folders of this machine are left out."""
    listed = program(sys.executable, "-m", "pip", "config", "list")
    given = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    settings = {name: value for name, value in given.items() if name == "cert" or not re.match("/|file:", value)}
    (folder / "pip.conf").write_text("[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    mounts = {f"{folder}/pip.conf": "/etc/pip.conf"} | ({given["cert"]: given["cert"]} if "cert" in given else {})
    return ["--network", "host", *(word for one in mounts.items() for word in ("--volume", ":".join((*one, "ro"))))]


class Builder:
    """Runs of image.yml on a sandbox whose tasks run in containers."""

    def __init__(self, console: Console, folder: Path):
        self.console, self.folder = console, folder
        self.ecr = console.sandbox.client("ecr")
        self.options = options_of_pip(folder)
        for name in ("tmp", "docker"):
            (folder / name).mkdir()
        self.login = folder / "docker/config.json"
        self.login.write_text("{}")

    def __call__(self, *arguments: str, path: Path | None = None, succeeds: bool = True, **variables):
        variables = {"image_build_options": self.options, "image_builder": "podman", **variables}
        env = {"TMPDIR": str(self.folder / "tmp"), "DOCKER_CONFIG": str(self.login.parent)}
        if path:
            env["PATH"] = f"{path}:{self.console.env['PATH']}"
        run = self.console.playbook(*IMAGE, *arguments, "-e", json.dumps(variables), succeeds=succeeds, env=env)
        assert self.login.read_text() == "{}"
        assert not list((self.folder / "tmp").glob("ecr-image-*"))
        return run

    def images(self) -> dict[str, str]:
        """Digests by tag."""
        found = self.ecr.describe_images(repositoryName=NAME)["imageDetails"]
        return {tag: one["imageDigest"] for one in found for tag in one["imageTags"]}


@pytest.fixture(scope="module")
def build(base, storage, start_sandbox, tmp_path_factory) -> Builder:
    console = Console(start_sandbox(1.0, "--runner", "podman"), tmp_path_factory.mktemp("image") / "steps")
    return Builder(console, storage)


@pytest.fixture(scope="module")
def built(build):
    """The check, and the run that did what it said: on an empty account it makes the repository, too."""
    check = build("--check")
    assert steps.writes(check.step) == []
    run = build("-vvvv")
    assert steps.unforetold(check.step, run.step) == []
    return check, run


def test_a_check_says_what_is_built_and_pushed(built):
    check, run = built
    assert "would be built and pushed" in check.text
    assert check.plan["changes"] == run.plan["changes"]
    assert [one["resource"].split()[0] for one in run.plan["changes"]] == ["bucket", "ECR", "image"]


def test_the_image_is_in_the_repository_and_what_deploys_it_is_said(build, built):
    ((tag, digest),) = build.images().items()
    assert re.fullmatch("[0-9a-f]{16}", tag)
    assert f"{URI}:{tag}" in built[1].output
    assert digest in built[1].output
    assert f"ansible-playbook playbooks/deploy.yml -i inventories/dev -e app_image={URI}:{tag}" in built[1].text
    run = build(app_image=f"{URI}:older", image_file=str(build.folder / "image.json"))
    told = {"repository_uri": URI, "image_tag": tag, "image_digest": digest}
    assert json.loads((build.folder / "image.json").read_text()) == told
    assert f"playbooks/deploy.yml -i inventories/dev -e image_tag={tag}" in run.text


def test_no_output_has_the_token(built):
    """Which is Base64 of a text that begins with AWS:."""
    assert "QVdTO" not in built[1].output
    assert "authorizationToken" not in built[1].output


def test_the_same_content_is_not_built_again(build, built):
    for env in (None, ONLY_ANSIBLE):
        run = build.console.playbook(*IMAGE, "-e", json.dumps({"image_build_options": build.options}), env=env)
        assert (run.changed, steps.writes(run.step)) == (0, [])
        assert "the repository has it already: nothing to build" in run.text


@pytest.fixture
def another(tmp_path) -> Path:
    """Other content, whose layers are there but for the last ones."""
    shutil.copytree(ROOT / "worker", tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "worker/config/version.py").write_text("VERSION = 2\n")
    return tmp_path / "worker"


def test_what_a_scanner_does_not_let_pass_is_not_pushed(build, built, another, tmp_path):
    """There is no scanner to be had here: this one looks whether it is given an archive, and is told what to find."""
    scanner = tmp_path / "bin/trivy"
    scanner.parent.mkdir()
    scanner.write_text(
        '#!/bin/sh\necho "$@" > "$0.asked"\ntar --list --file "$3" manifest.json || exit 9\n'
        'test ! -e "$0.finds" || { cat "$0.finds"; exit 1; }\n'
    )
    scanner.chmod(0o755)
    scanner.with_suffix(".finds").write_text("CVE-2026-0001 CRITICAL\n")
    before = build.images()
    run = build(path=scanner.parent, succeeds=False, image_context=str(another))
    assert "The image did not pass trivy, and was not pushed" in run.text
    assert "CVE-2026-0001 CRITICAL" in run.text
    assert build.images() == before
    asked = scanner.with_suffix(".asked").read_text()
    assert "--ignore-unfixed --no-progress --exit-code 1 --severity HIGH,CRITICAL" in asked
    scanner.with_suffix(".finds").unlink()
    builder = "buildah" if shutil.which("buildah") else "podman"
    run = build(path=scanner.parent, image_builder=builder, image_context=str(another), image_scan_severity="CRITICAL")
    assert run.changed == 1
    assert "nothing scans" not in run.text
    assert "--severity CRITICAL" in scanner.with_suffix(".asked").read_text()
    assert len(build.images()) == len(before) + 1


def test_a_build_that_fails_shows_its_last_lines(build, built, another):
    with (another / "Dockerfile").open("a") as file:
        file.write("RUN echo so it ends && exit 3\n")
    run = build(succeeds=False, image_context=str(another))
    assert "The image was not built: podman build ended with 3" in run.text
    assert "so it ends" in run.text


def test_the_stack_runs_in_containers_of_it(build, built):
    """API, worker and beat: from the registry, since the local image is taken away. Then another one, by its digest."""
    console, tag = build.console, next(iter(build.images()))
    registry = console.sandbox.endpoint.removeprefix("http://")
    program("podman", "rmi", "--force", f"{registry}/{NAME}:{tag}")
    site = ("-i", "inventories/dev", "-e", f"app_image={URI}:{tag}")
    console.playbook("site.yml", *site)
    running = program("podman", "ps", "--format", "{{.Names}}").split()
    assert {name.split("-", 2)[2] for name in running} == {"backend", "celery-worker", "celery-beat"}
    command = ["python", "-c", "import sys; print(sys.prefix); sys.exit(3)"]
    run = console.playbook("playbooks/run.yml", *site, "-e", json.dumps({"command": command}), succeeds=False)
    assert "/opt/venv" in run.output, "what it prints comes from the log group"
    assert "container celery-worker: exit code 3" in run.text
    console.playbook("playbooks/scale.yml", *site, "-e", "service=celery-worker", "-e", "count=1")
    run = console.playbook("playbooks/logs.yml", *site, "-e", "service=celery-worker", "-e", "filter=Warm")
    assert "Warm shutdown" in run.output, "SIGTERM reaches what runs in the container, and its last words the log"
    another = list(build.images().values())[-1]
    console.playbook("playbooks/deploy.yml", *site, "-e", f"image_tag={another}")
    assert set(program("podman", "ps", "--format", "{{.Image}}").split()) == {f"{registry}/{NAME}@{another}"}
    console.playbook("playbooks/smoke_test.yml", *site)


def test_no_container_outlives_the_sandbox(build, built):
    build.console.sandbox.down()
    assert program("podman", "ps", "--all", "--quiet") == ""
