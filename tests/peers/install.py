#!/usr/bin/env python3
"""Installs what the peers need, as root or with passwordless sudo: Debian's packages in packages.txt, and npm's ws.

  tests/peers/install.py      exit status 1 where something is missing still
"""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# For downloads that are slow.
DEADLINE = 600
INTEGRATION = os.path.join(HERE, "..", "integration")
# These may also come from elsewhere than Debian's package.
COMMANDS = {"golang-go": "go", "nodejs": "node", "npm": "npm"}


def _note(text):
    print(text, file=sys.stderr, flush=True)


def _is_installed(package):
    if shutil.which(COMMANDS.get(package, "/")):
        return True
    done = subprocess.run(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}", package],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.startswith(b"ii")


def _missing_packages():
    with open(os.path.join(HERE, "packages.txt"), encoding="ascii") as file:
        return [package for package in file.read().split() if not _is_installed(package)]


def _has_ws():
    return os.path.exists(os.path.join(INTEGRATION, "node_modules", "ws"))


def _run(command):
    """Its last lines, where it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=DEADLINE, check=False)
    except OSError as error:
        _note(f"{command[0]}: {error.strerror}")
        return
    except subprocess.TimeoutExpired:
        _note(f"{' '.join(command)} took more than {DEADLINE} s")
        return
    if done.returncode != 0:
        _note("\n".join(done.stdout.decode(errors="replace").splitlines()[-5:]))


def _install_packages(packages):
    _note(f"installing {' '.join(packages)}")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    _run([*as_root, "apt-get", "-q", "update"])
    # RUNLEVEL: no service is started.
    _run([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q", "install", "-y",
          "--no-install-recommends", *packages])


def install_missing():
    """What is missing still; a peer that needs it will say so, too."""
    missing = []
    if shutil.which("dpkg-query"):
        packages = _missing_packages()
        if packages:
            _install_packages(packages)
            missing = _missing_packages()
    if not _has_ws():
        _note("installing npm's ws")
        _run(["npm", "ci", "--prefix", INTEGRATION])
    return missing + ([] if _has_ws() else ["npm's ws"])


if __name__ == "__main__":
    still_missing = install_missing()
    if still_missing:
        sys.exit(f"install.py: could not install {' '.join(still_missing)}")
