#!/bin/sh
# Makes a Debian machine ready to build sluice and prints the folder that tools/bazel uses:
#   bazel     the path of Debian's Bazel
#   bazelrc   --override_repository for each repository that Bazel would fetch from the internet
# The folder is named after a hash of everything in tools/debian, so a second run only looks whether it is there, and
# clones at different commits do not disturb each other. It appears whole or not at all.

set -eu

here=$(cd "$(dirname "$0")" && pwd -P)
: "${HOME:?tools/bazel: HOME is not set}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice

key=$(cd "$here" && find . -type f ! -name '*_test*' ! -name BUILD | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-16)
ready=$cache/debian-$key
if [ -d "$ready" ]; then
  echo "$ready"
  exit 0
fi

say() {
  echo "tools/bazel: $*" >&2
}

die() {
  say "$*"
  exit 1
}

mkdir -p "$cache/downloads"
log=$cache/prepare.log
work=$cache/work

# One at a time; who waited finds the work done.
exec 9>"$cache/lock"
flock 9
if [ -d "$ready" ]; then
  echo "$ready"
  exit 0
fi
rm -rf "$work"
mkdir -p "$work/new"
: >"$log"

# --- packages -------------------------------------------------------------------------------------------------------

missing_packages() {
  while read -r package; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf ' %s' "$package"
  done <"$here/packages"
}

install_packages() {
  install="apt-get install -y --no-install-recommends$missing"
  if [ "$(id -u)" = 0 ]; then
    as_root=
  elif sudo -n true 2>/dev/null; then
    as_root="sudo -n"
  else
    die "this needs some packages: sudo $install"
  fi
  say "installing$missing"
  as_root="$as_root env DEBIAN_FRONTEND=noninteractive"
  # Unquoted on purpose: these are words. The lists of packages may be old or absent; then they are fetched.
  $as_root $install >>"$log" 2>&1 </dev/null && return
  $as_root apt-get update >>"$log" 2>&1 </dev/null || true
  $as_root $install >>"$log" 2>&1 </dev/null || die "apt-get could not install$missing; is there a network? ($log)"
}

missing=$(missing_packages)
[ -z "$missing" ] || install_packages

# --- sources --------------------------------------------------------------------------------------------------------

# apt-get for source packages: the machine's own archives, of which most machines list only the binaries, with all
# state in a folder of ours. It needs no root.
apt_sources() {
  apt-get -q \
    -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/apt" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=2 "$@" >>"$log" 2>&1 </dev/null
}

list_sources() {
  mkdir -p "$work/sources" "$work/lists/partial" "$work/apt/archives/partial"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -f "$file" ] || sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file" >"$work/sources/$(basename "$file" .list).list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ ! -f "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/sources/$(basename "$file")"
  done
  apt_sources update || true
  ls "$work/lists" | grep -q '_Sources' || die "cannot reach the Debian archive; is there a network? ($log)"
}

matches() {
  echo "$2  $1" | sha256sum --check --status 2>/dev/null
}

# Leaves the verified archive in downloads/, under its hash.
download() {
  package=$1 archive=$2 sha256=$3
  [ -d "$work/lists" ] || list_sources
  say "fetching the source of $package"
  mkdir -p "$work/download"
  (cd "$work/download" && apt_sources source --download-only "$package") || die "apt-get could not fetch the source of $package ($log)"
  [ -f "$work/download/$archive" ] || die "Debian offers another version of $package than $archive, which sluice pins"
  matches "$work/download/$archive" "$sha256" || die "$archive does not have the sha256 that sluice pins"
  mv "$work/download/$archive" "$cache/downloads/$sha256"
}

override() {
  echo "common --override_repository=$1=$2" >>"$work/new/bazelrc"
}

while read -r repository package archive sha256; do
  case $repository in '' | '#'*) continue ;; esac
  matches "$cache/downloads/$sha256" "$sha256" || download "$package" "$archive" "$sha256"
  mkdir "$work/new/$repository"
  tar -xzf "$cache/downloads/$sha256" -C "$work/new/$repository" --strip-components=1
  override "$repository" "$ready/$repository"
done <"$here/pins"

# --- what Bazel 4.2.3 itself would fetch ----------------------------------------------------------------------------

share=/usr/share/bazel
override bazel_skylib "$share/tools/skylib"
override rules_java "$share/rules/java"
override rules_proto "$share/rules/proto"
for shim in rules_cc remote_coverage_tools; do
  cp -R "$here/shims/$shim" "$work/new/$shim"
  override "$shim" "$ready/$shim"
done
# Abseil asks for two CPUs that Debian's platforms do not know.
cp -R "$share/platforms" "$work/new/platforms"
for cpu in wasm32 wasm64; do
  printf '\nconstraint_value(name = "%s", constraint_setting = ":cpu")\n' "$cpu" >>"$work/new/platforms/cpu/BUILD"
done
override platforms "$ready/platforms"

cat >>"$work/new/bazelrc" <<END
build --nosandbox_debug
build --config=strict
build --disk_cache=$cache/disk
END
dpkg-query --listfiles bazel-bootstrap | grep -x '/usr/bin/bazel-[0-9.]*' >"$work/new/bazel"

mv "$work/new" "$ready"
rm -rf "$work"
echo "$ready"
