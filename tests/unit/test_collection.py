"""The collection as others get it: built, installed somewhere else, and tested there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OF_THE_REPOSITORY = {"test_collection.py", "test_deployer_policy.py", "test_repository.py"}
PARTS = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "ansible.cfg", "collections", "docs",
    "inventories", "meta", "playbooks", "plugins", "policies", "roles", "site.yml",
}  # fmt: skip


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder of collections with the built one in it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    env = {**os.environ, "HOME": str(folder), "ANSIBLE_HOME": str(folder / "home")}
    galaxy = ["ansible-galaxy", "collection"]
    subprocess.run([*galaxy, "build", "--output-path", folder], cwd=ROOT, env=env, check=True, capture_output=True)
    (built,) = folder.glob("nexus_learn-aws-*.tar.gz")
    with tarfile.open(built) as archive:
        assert {name.split("/")[0] for name in archive.getnames()} <= PARTS
    subprocess.run(
        [*galaxy, "install", built, "--offline", "--no-deps", "--force", "--collections-path", folder],
        cwd=folder, env=env, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_its_unit_tests_pass_there(elsewhere, tmp_path):
    tests = tmp_path / "tests/unit"
    shutil.copytree(ROOT / "tests/unit", tests, ignore=shutil.ignore_patterns("__pycache__", *OF_THE_REPOSITORY))
    shutil.copytree(ROOT / "inventories", tmp_path / "inventories")
    installed = elsewhere / "ansible_collections/nexus_learn/aws"
    (tests / "test_it_is_that_one.py").write_text(
        "from ansible_collections.nexus_learn.aws.plugins.module_utils import engine\n"
        f"def test_it(): assert engine.__file__.startswith({str(installed)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(elsewhere), "ANSIBLE_COLLECTIONS_PATH": str(elsewhere)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_its_documentation_renders_there(elsewhere):
    installed = elsewhere / "ansible_collections/nexus_learn/aws"
    names = [f"nexus_learn.aws.{path.stem}" for path in installed.glob("plugins/modules/*.py")]
    assert len(names) > 10
    done = subprocess.run(
        ["ansible-doc", "-t", "module", *names],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(elsewhere), "ANSIBLE_COLLECTIONS_PATH": str(elsewhere), "PAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(elsewhere) in done.stdout
