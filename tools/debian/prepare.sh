#!/bin/sh
# Makes a Debian 12 machine ready to build sluice and prints the folder that tools/bazel uses:
#   bazel     the path of Debian's Bazel
#   bazelrc   --override_repository for each repository that Bazel would fetch from the internet
# The folder is named after a hash of what stands in tools/debian, so a second run only looks whether it is there, and
# clones at different commits do not disturb each other. It appears whole or not at all.
#
# Everything is kept in ~/.cache/sluice (or $XDG_CACHE_HOME/sluice), which may be removed at any time.

set -eu

here=$(CDPATH='' cd "$(dirname "$0")" && pwd -P)
builds=$here/../../third_party # BUILD files for repositories that have none
# Where Debian's files are; another place in the test of this script.
debian=${SLUICE_DEBIAN_ROOT:-}

say() {
  echo "tools/bazel: $*" >&2
}

die() {
  say "$*"
  exit 1
}

[ -n "${XDG_CACHE_HOME:-${HOME:-}}" ] || die "neither HOME nor XDG_CACHE_HOME is set"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice
key=$(cd "$here" && find packages pins prepare.sh shims ../../third_party -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-16)
ready=$cache/debian-$key

# Bazel 4.2.3 forgets nothing that it put into its disk cache; once a week this drops what nobody has read for a month.
prune_disk_cache() {
  [ -z "$(find "$cache/pruned" -mtime -7 2>/dev/null)" ] || return 0
  : >"$cache/pruned"
  [ ! -d "$cache/disk" ] || find "$cache/disk" -type f -atime +30 -delete
}

finish() {
  prune_disk_cache
  echo "$ready"
  exit 0
}

[ ! -d "$ready" ] || finish
grep -qsx 'VERSION_CODENAME=bookworm' "$debian/etc/os-release" ||
  die "no Bazel on PATH; install Bazelisk (only on Debian 12 can this script install a Bazel by itself)"

# One at a time; who waited finds the work done.
mkdir -p "$cache/downloads"
exec 9>"$cache/lock"
flock 9
[ ! -d "$ready" ] || finish

log=$cache/prepare.log
: >"$log"
work=$cache/work # what a run leaves here when it is interrupted, the next run removes
rm -rf "$work"
mkdir "$work"

# --- packages -------------------------------------------------------------------------------------------------------

missing_packages() {
  while read -r package; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
      printf ' %s' "$package"
  done <"$here/packages"
}

install_packages() {
  install="apt-get install -y --no-install-recommends$1"
  if [ "$(id -u)" = 0 ]; then
    as_root="env"
  elif sudo -n true 2>/dev/null; then
    as_root="sudo -n env"
  else
    die "packages are missing; as root: $install"
  fi
  as_root="$as_root DEBIAN_FRONTEND=noninteractive"
  say "installing$1"
  # A machine's package lists may be old or absent: then fetch them.
  # shellcheck disable=SC2086 # both variables are several words
  { $as_root $install || { $as_root apt-get update && $as_root $install; }; } >>"$log" 2>&1 </dev/null ||
    die "apt-get cannot install$1; is there a network? ($log)"
}

# --- sources --------------------------------------------------------------------------------------------------------

# apt-get for source packages, from the archives that the machine uses, with all state in a folder of ours: no root.
apt_sources() {
  apt-get -q \
    -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/archives" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/apt" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
    "$@" >>"$log" 2>&1 </dev/null
}

# The machine's archives list binary packages; the same archives have the sources.
list_sources() {
  mkdir -p "$work/archives" "$work/lists/partial" "$work/apt/archives/partial"
  for file in "$debian"/etc/apt/sources.list "$debian"/etc/apt/sources.list.d/*.list; do
    [ ! -f "$file" ] || sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' "$file" >"$work/archives/${file##*/}.list"
  done
  for file in "$debian"/etc/apt/sources.list.d/*.sources; do
    [ ! -f "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/archives/${file##*/}"
  done
  apt_sources update || true # an archive of somebody else's may fail
  find "$work/lists" -name '*_Sources*' | grep -q . || die "cannot reach Debian's archive; is there a network? ($log)"
}

is_verified() {
  echo "$2  $1" | sha256sum --check --status 2>/dev/null
}

# Puts the verified archive into downloads/, under the name of its hash.
download() {
  package=$1 archive=$2 sha256=$3
  [ -d "$work/lists" ] || list_sources
  say "fetching the source of $package"
  mkdir "$work/$package"
  (cd "$work/$package" && apt_sources source --download-only "$package") ||
    die "apt-get cannot fetch the source of $package ($log)"
  [ -f "$work/$package/$archive" ] || die "Debian has no longer the version of $package that sluice pins, $archive"
  is_verified "$work/$package/$archive" "$sha256" || die "$archive does not have the sha256 that sluice pins, $sha256"
  mv "$work/$package/$archive" "$cache/downloads/$sha256"
}

# --- what Bazel gets ------------------------------------------------------------------------------------------------

override() {
  echo "common --override_repository=$1=$2" >>"$new/bazelrc"
}

pinned_sources() {
  while read -r repository package archive sha256; do
    [ "$repository" != '#' ] || continue
    is_verified "$cache/downloads/$sha256" "$sha256" || download "$package" "$archive" "$sha256"
    mkdir "$new/$repository"
    tar -xf "$cache/downloads/$sha256" -C "$new/$repository" --strip-components=1
    [ ! -f "$builds/$repository.BUILD" ] || cp "$builds/$repository.BUILD" "$new/$repository/BUILD"
    [ -e "$new/$repository/WORKSPACE" ] || : >"$new/$repository/WORKSPACE" # BoringSSL's has none, and Bazel asks for one
    # As the patch in third_party/dependencies.bzl.
    [ "$repository" != boringssl ] || sed -i 's/"-Werror"/"-w"/' "$new/$repository/BUILD"
    override "$repository" "$ready/$repository"
  done <"$here/pins"
}

# Debian's Bazel 4.2.3 would fetch these for itself.
bazels_own() {
  share=$debian/usr/share/bazel
  override bazel_skylib "$share/tools/skylib"
  override rules_java "$share/rules/java"
  override rules_proto "$share/rules/proto"
  for shim in rules_cc remote_coverage_tools; do
    cp -R "$here/shims/$shim" "$new/$shim"
    override "$shim" "$ready/$shim"
  done
  # Abseil names two processors that Debian's platforms do not know.
  cp -R "$share/platforms" "$new/platforms"
  for cpu in wasm32 wasm64; do
    printf '\nconstraint_value(name = "%s", constraint_setting = ":cpu")\n' "$cpu" >>"$new/platforms/cpu/BUILD"
  done
  override platforms "$ready/platforms"
}

missing=$(missing_packages)
[ -z "$missing" ] || install_packages "$missing"
new=$work/new
mkdir "$new"
pinned_sources
bazels_own
cat >>"$new/bazelrc" <<END
build --nosandbox_debug
build --per_file_copt=^//@-Werror
build --disk_cache=$cache/disk
END
bazel=$(dpkg-query --listfiles bazel-bootstrap | grep -x '/usr/bin/bazel-[0-9.]*') || die "bazel-bootstrap has no Bazel"
echo "$debian$bazel" >"$new/bazel"
mv "$new" "$ready"
rm -rf "$work"
finish
