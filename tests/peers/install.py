"""Installs what the peers need: Debian's packages in packages.txt, and npm's ws."""

import os
import shutil
import subprocess

import peers

# These may also come from elsewhere than Debian's package.
COMMANDS = {"golang-go": "go", "nodejs": "node", "npm": "npm"}


def _missing_packages():
    with open(os.path.join(peers.HERE, "packages.txt"), encoding="ascii") as file:
        packages = file.read().split()
    return [package for package in packages
            if not shutil.which(COMMANDS.get(package, "/")) and not _is_installed(package)]


def _is_installed(package):
    done = subprocess.run(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}", package],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.startswith(b"ii")


def install_missing(note):
    """What cannot be installed is missed later, by the peer that needs it."""
    if shutil.which("apt-get"):
        packages = _missing_packages()
        if packages:
            note(f"installing {' '.join(packages)}")
            as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
            # RUNLEVEL: no service is started.
            _try([*as_root, "apt-get", "-q", "update"], note)
            _try([*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "-q", "install", "-y",
                  "--no-install-recommends", *packages], note)
    integration = os.path.join(peers.HERE, "..", "integration")
    if shutil.which("npm") and not os.path.exists(os.path.join(integration, "node_modules", "ws")):
        note("installing npm's ws")
        _try(["npm", "ci", "--prefix", integration], note)


def _try(command, note):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
    except OSError as error:
        note(f"{command[0]}: {error.strerror}")
        return
    if done.returncode != 0:
        note("\n".join(done.stdout.decode(errors="replace").splitlines()[-5:]))
