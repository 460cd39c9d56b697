"""Put the AWS collections, and this one, where ansible of this virtual environment finds them.

Users install collections from Galaxy (collections/requirements.yml). The development environment takes the very same
files from the `ansible` package on PyPI, which bundles them, so that one package index is all it needs.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

# The `ansible` release that belongs to the locked ansible-core: 2.21 and 2.19.
ANSIBLE = "14.5.0" if sys.version_info >= (3, 12) else "12.3.0"
COLLECTIONS = ("amazon/aws", "community/aws")

site_packages = Path(sysconfig.get_path("purelib"))
with tempfile.TemporaryDirectory() as folder:
    download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    subprocess.run([sys.executable, *download, "--dest", folder, f"ansible=={ANSIBLE}"], check=True)
    with zipfile.ZipFile(next(Path(folder).glob("ansible-*.whl"))) as wheel:
        prefixes = tuple(f"ansible_collections/{name}/" for name in COLLECTIONS)
        wheel.extractall(site_packages, [name for name in wheel.namelist() if name.startswith(prefixes)])

link = site_packages / "ansible_collections" / "nexus_learn" / "aws"
link.parent.mkdir(parents=True, exist_ok=True)
link.unlink(missing_ok=True)
link.symlink_to(Path(__file__).resolve().parent.parent)
