#!/bin/sh
# Which road tools/bazel takes, and what the Debian road does with a machine. Everything outside the clone is fake: a
# folder of commands on PATH that log what they were asked, and a folder in which Debian's files stand.

set -eu

source_tools=$PWD/tools
source_third_party=$PWD/third_party
scratch=${TEST_TMPDIR:-$(mktemp -d)}
failures=0

# --- the fake machine -----------------------------------------------------------------------------------------------

# A bare Debian 12 of root, with nothing installed and one source package to fetch. $machine/installed lists the
# packages that are there; $machine/log has a line for each call of apt-get and sudo.
new_machine() {
  machine=$(mktemp -d "$scratch/machine.XXXXXX")
  bin=$machine/bin
  mkdir -p "$bin" "$machine/clone" "$machine/home" "$machine/root/etc/apt/sources.list.d" \
    "$machine/root/usr/share/bazel/platforms/cpu"
  cp -RL "$source_tools" "$machine/clone/tools"
  cp -RL "$source_third_party" "$machine/clone/third_party"
  echo 'VERSION_CODENAME=bookworm' >"$machine/root/etc/os-release"
  echo 'deb http://archive.invalid/debian bookworm main' >"$machine/root/etc/apt/sources.list"
  : >"$machine/root/usr/share/bazel/platforms/cpu/BUILD"
  bazel_at "$machine/root/usr/bin/bazel-4" debians
  : >"$machine/installed"
  : >"$machine/log"
  echo 0 >"$machine/uid"

  mkdir "$machine/lib-1.0"
  echo 'contents' >"$machine/lib-1.0/file"
  (cd "$machine" && tar -czf lib_1.0.orig.tar.gz lib-1.0)
  pin "$(sha256sum "$machine/lib_1.0.orig.tar.gz" | cut -d' ' -f1)"

  for tool in sh env basename cat cp cut dirname find flock grep gzip ls mkdir mktemp mv printf readlink rm sed sha256sum \
    sleep sort tar touch true xargs; do
    for dir in /usr/bin /bin; do
      [ ! -x "$dir/$tool" ] || ln -sf "$dir/$tool" "$bin/$tool"
    done
  done

  command_on_path id <<'END'
    case $1 in -u) cat "$machine/uid" ;; -un) echo somebody ;; esac
END
  command_on_path dpkg-query <<'END'
    case $1 in
      --show) for package; do :; done; grep -qx "$package" "$machine/installed" && printf installed ;;
      --listfiles) printf '%s\n' /usr/bin/bazel /usr/bin/bazel-4 "$machine/root/usr/bin/bazel" "$machine/root/usr/bin/bazel-4" ;;
    esac
END
  command_on_path apt-get <<'END'
    echo "apt-get $*" >>"$machine/log"
    [ ! -f "$machine/offline" ] || exit 100
    lists=$(printf '%s\n' "$@" | sed -n 's/^Dir::State::Lists=//p')
    case " $* " in
      *" install "*) printf '%s\n' "$@" >>"$machine/installed" ;;
      *" update "*) [ -z "$lists" ] || : >"$lists/archive.invalid_Sources" ;;
      *" source "*)
        [ ! -f "$machine/interrupt" ] || { echo half >lib_1.0.orig.tar.gz; exit 100; }
        cp "$machine/lib_1.0.orig.tar.gz" .
        ;;
    esac
END
}

# Installs a command on the fake machine; its text comes from standard input.
command_on_path() {
  { echo '#!/bin/sh'; echo "machine='$machine'"; cat; } >"$bin/$1"
  chmod +x "$bin/$1"
}

# A Bazel that says its name and its arguments.
bazel_at() {
  mkdir -p "$(dirname "$1")"
  printf '#!/bin/sh\necho "%s: $*"\n' "$2" >"$1"
  chmod +x "$1"
}

pin() {
  echo "the_lib lib lib_1.0.orig.tar.gz $1" >"$machine/clone/tools/debian/pins"
}

# Runs tools/bazel there with arguments and NAME=VALUE settings; leaves $status, $out and $err.
bazel() {
  status=0
  env -i PATH="${path:-$bin}" HOME="$machine/home" SLUICE_DEBIAN_ROOT="$machine/root" "$@" \
    >"$machine/out" 2>"$machine/err" || status=$?
  out=$(cat "$machine/out")
  err=$(cat "$machine/err")
}

# --- expectations ---------------------------------------------------------------------------------------------------

expect() {
  what=$1
  shift
  if ! "$@"; then
    echo "FAILED: $name: $what"
    echo "  status $status"
    echo "  out: $out"
    echo "  err: $err"
    echo "  log: $(cat "$machine/log")"
    failures=$((failures + 1))
  fi
}

is() { [ "$1" = "$2" ]; }
has() { case $1 in *"$2"*) ;; *) return 1 ;; esac }
lacks() { ! has "$@"; }
calls() { grep -c "$1" "$machine/log" || true; }
lines() { printf '%s\n' "$1" | grep -c . || true; }

# --- which road -----------------------------------------------------------------------------------------------------

StepsAsideForBazelReal() {
  bazel_at "$machine/real" real
  bazel BAZEL_REAL="$machine/real" tools/bazel test //...
  expect "the real Bazel runs with the arguments as they are" is "$out" "real: test //..."
}

PrefersBazeliskOnPath() {
  bazel_at "$bin/bazel" bazel
  bazel_at "$bin/bazelisk" bazelisk
  bazel tools/bazel build :x
  expect "Bazelisk runs" is "$out" "bazelisk: build :x"
}

UsesABazelOnPath() {
  bazel_at "$bin/bazel" bazel
  bazel tools/bazel build :x
  expect "it runs" is "$out" "bazel: build :x"
  expect "nothing is installed" is "$(calls apt-get)" 0
}

DoesNotCallItself() {
  path=$machine/clone/tools:$bin
  bazel tools/bazel build :x
  path=
  expect "it is skipped on PATH" has "$err" "installing"
}

LeavesDebiansBazelForTheDebianRoad() {
  bazel_at "$machine/root/usr/bin/bazel" debians
  path=$machine/root/usr/bin:$bin
  bazel tools/bazel build :x
  expect "it runs with the overrides" has "$out" "debians: --bazelrc=$machine/home/.cache/sluice/debian-"
  expect "and then the arguments" has "$out" "/bazelrc build :x"
  first=$out
  bazel BAZEL_REAL="$machine/root/usr/bin/bazel-4" tools/bazel build :x
  expect "also when it comes first" is "$out" "$first"
  bazel BAZEL_REAL="$machine/root/usr/bin/bazel-7.4.1" tools/bazel build :x
  expect "also when it lacks the version of .bazelversion" is "$out" "$first"
  path=
}

RoadCanBeChosenByHand() {
  bazel_at "$bin/bazel" bazel
  bazel SLUICE_ROAD=debian tools/bazel build :x
  expect "debian is taken in spite of a Bazel" has "$err" "installing"
  rm "$bin/bazel"
  bazel SLUICE_ROAD=internet tools/bazel build :x
  expect "internet needs a Bazel" has "$err" "install Bazelisk"
  bazel SLUICE_ROAD=rail tools/bazel build :x
  expect "others are refused" has "$err" "it may be internet or debian"
}

OtherSystemsAreToldToInstallBazelisk() {
  echo 'VERSION_CODENAME=noble' >"$machine/root/etc/os-release"
  bazel tools/bazel build :x
  expect "it fails" is "$status" 1
  expect "in one line" is "$(lines "$err")" 1
  expect "that names Bazelisk" has "$err" "install Bazelisk"
  expect "and touches nothing" is "$(calls .)" 0
}

# --- the Debian road ------------------------------------------------------------------------------------------------

RootInstallsAndFetches() {
  bazel tools/debian/prepare.sh
  expect "it succeeds" is "$status" 0
  expect "packages are installed" grep -qx bazel-bootstrap "$machine/installed"
  expect "Bazel is named" is "$(cat "$out/bazel")" "$machine/root/usr/bin/bazel-4"
  expect "the source is unpacked" is "$(cat "$out/the_lib/file")" contents
  expect "as a workspace, which it may not say itself" test -f "$out/the_lib/WORKSPACE"
  expect "and replaces the archive" grep -qx "common --override_repository=the_lib=$out/the_lib" "$out/bazelrc"
  expect "rules_cc is the shim" test -f "$out/rules_cc/cc/defs.bzl"
  expect "platforms know wasm32" grep -q wasm32 "$out/platforms/cpu/BUILD"
  expect "no work is left over" test ! -e "$machine/home/.cache/sluice/work"
}

BoringSslsWarningsAreNoErrors() {
  echo 'copts = ["-Wall", "-Werror"]' >"$machine/lib-1.0/BUILD"
  (cd "$machine" && tar -czf lib_1.0.orig.tar.gz lib-1.0)
  pin "$(sha256sum "$machine/lib_1.0.orig.tar.gz" | cut -d' ' -f1)"
  sed -i 's/^the_lib/boringssl/' "$machine/clone/tools/debian/pins"
  bazel tools/debian/prepare.sh
  expect "its BUILD file is changed" is "$(cat "$out/boringssl/BUILD")" 'copts = ["-Wall", "-w"]'
}

SecondRunCallsNothing() {
  bazel tools/debian/prepare.sh
  first=$out
  : >"$machine/log"
  bazel tools/debian/prepare.sh
  expect "the answer is the same" is "$out" "$first"
  expect "apt-get is not called" is "$(calls .)" 0
  expect "nothing is said" is "$err" ""
}

ChangedPinIsPreparedAnew() {
  bazel tools/debian/prepare.sh
  first=$out
  echo '# one more comment' >>"$machine/clone/tools/debian/pins"
  : >"$machine/log"
  bazel tools/debian/prepare.sh
  expect "in another folder" test "$out" != "$first"
  expect "from the download that is there" is "$(calls apt-get)" 0
}

CacheFollowsXdg() {
  bazel XDG_CACHE_HOME="$machine/elsewhere" tools/debian/prepare.sh
  expect "the folder is there" has "$out" "$machine/elsewhere/sluice/"
}

UserWithoutSudoIsToldTheOneLine() {
  echo 1000 >"$machine/uid"
  echo g++ >"$machine/installed"
  bazel tools/bazel build :x
  expect "it fails" is "$status" 1
  expect "in one line" is "$(lines "$err")" 1
  expect "that can be typed" has "$err" "apt-get install -y --no-install-recommends bazel-bootstrap bazel-platforms"
  expect "without what is there" lacks "$err" " g++"
  expect "apt-get is not called" is "$(calls .)" 0
}

UserWithSudoInstalls() {
  echo 1000 >"$machine/uid"
  command_on_path sudo <<'END'
    echo "sudo $*" >>"$machine/log"
    [ "$1" = -n ] && shift
    exec "$@"
END
  bazel tools/debian/prepare.sh
  expect "it succeeds" is "$status" 0
  expect "apt-get install ran under sudo" is "$(calls '^sudo -n env .*apt-get install')" 1
  expect "sources need no sudo" is "$(calls 'sudo.* source')" 0
}

UserNeedsNoSudoWhenPackagesAreThere() {
  echo 1000 >"$machine/uid"
  cp "$machine/clone/tools/debian/packages" "$machine/installed"
  bazel tools/debian/prepare.sh
  expect "it succeeds" is "$status" 0
}

OldPackageListsAreRenewed() {
  mv "$bin/apt-get" "$bin/real-apt-get"
  command_on_path apt-get <<'END'
    case " $* " in *" install "*) [ -f "$machine/updated" ] || exit 100 ;; *" update "*) : >"$machine/updated" ;; esac
    exec real-apt-get "$@"
END
  bazel tools/debian/prepare.sh
  expect "it succeeds" is "$status" 0
}

NoNetworkIsSaidInOneLine() {
  cp "$machine/clone/tools/debian/packages" "$machine/installed"
  : >"$machine/offline"
  bazel tools/bazel build :x
  expect "it fails" is "$status" 1
  expect "in one line" is "$(lines "$err")" 1
  expect "that asks for the network" has "$err" "is there a network?"
  rm "$machine/offline"
  bazel tools/debian/prepare.sh
  expect "the next run succeeds" is "$status" 0
}

NoNetworkForPackagesIsSaidToo() {
  : >"$machine/offline"
  bazel tools/bazel build :x
  expect "it fails" is "$status" 1
  expect "and asks for the network" has "$err" "is there a network?"
}

WrongHashIsRefused() {
  pin 0000000000000000000000000000000000000000000000000000000000000000
  bazel tools/debian/prepare.sh
  expect "it fails" is "$status" 1
  expect "says so" has "$err" "lib_1.0.orig.tar.gz does not have the sha256"
  expect "and keeps nothing" is "$(ls "$machine/home/.cache/sluice/downloads")" ""
}

OtherVersionIsRefused() {
  sed -i 's/lib_1.0/lib_0.9/' "$machine/clone/tools/debian/pins"
  bazel tools/debian/prepare.sh
  expect "it fails" is "$status" 1
  expect "says so" has "$err" "lib_0.9.orig.tar.gz"
}

InterruptedDownloadIsRepeated() {
  : >"$machine/interrupt"
  bazel tools/debian/prepare.sh
  expect "it fails" is "$status" 1
  expect "keeps nothing" is "$(ls "$machine/home/.cache/sluice/downloads")" ""
  rm "$machine/interrupt"
  bazel tools/debian/prepare.sh
  expect "the next run succeeds" is "$status" 0
  expect "with the whole source" is "$(cat "$out/the_lib/file")" contents
}

DamagedDownloadIsRepeated() {
  bazel tools/debian/prepare.sh
  rm -r "$out"
  for file in "$machine/home/.cache/sluice/downloads/"*; do echo damaged >"$file"; done
  bazel tools/debian/prepare.sh
  expect "it succeeds" is "$(cat "$out/the_lib/file")" contents
}

TwoAtOnceInstallOnce() {
  first=$machine/first
  env -i PATH="$bin" HOME="$machine/home" SLUICE_DEBIAN_ROOT="$machine/root" tools/debian/prepare.sh >"$first" 2>/dev/null &
  bazel tools/debian/prepare.sh
  wait $!
  expect "both succeed" is "$out" "$(cat "$first")"
  expect "one installs" is "$(calls '^apt-get install')" 1
}

# --------------------------------------------------------------------------------------------------------------------

# shellcheck disable=SC2013 # the names are words
for name in $(sed -n 's/^\([A-Z][A-Za-z]*\)() {$/\1/p' "$0"); do
  new_machine
  cd "$machine/clone"
  "$name"
  cd "$scratch"
done
[ "$failures" = 0 ] || {
  echo "$failures expectations failed"
  exit 1
}
