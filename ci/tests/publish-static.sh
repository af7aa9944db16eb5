#!/bin/bash
# What images/tator_static/publish-static promises: whole sets under their digests, an atomic switch, old sets pruned,
# damage put right, two runs at once.
set -euo pipefail

publish=$(cd "$(dirname "$0")/../../images/tator_static" && pwd)/publish-static
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir "$root"

fail() {
  echo "publish-static: $*" >&2
  exit 1
}

# A set whose two files say the same number.
make_set() {
  rm -rf "$work/set"
  mkdir -p "$work/set/sub folder"
  echo "$1" >"$work/set/a"
  echo "$1" >"$work/set/sub folder/b"
}

current() { readlink "$root/current"; }
sets() { find "$root" -mindepth 1 -maxdepth 1 -type d -not -name '.*' | wc -l; }

make_set 1
"$publish" "$work/set" "$root" >/dev/null
first=$(current)
[[ $first =~ ^[0-9a-f]{64}$ ]] || fail "current points at $first"
[ "$(cat "$root/current/sub folder/b")" = 1 ] || fail "the set is not there"

# The same again, with other times and modes, is the same set.
touch -d 2001-01-01 "$work/set/a"
chmod 0600 "$work/set/a"
[[ $("$publish" "$work/set" "$root") == *"is there already"* ]] || fail "the same set was copied again"
[ "$(current)" = "$first" ] || fail "the same content has another digest"

# A name is content too.
mv "$work/set/a" "$work/set/c"
"$publish" "$work/set" "$root" >/dev/null
[ "$(current)" != "$first" ] || fail "a renamed file did not change the digest"

# Whoever reads sees one set, whole, all the while.
make_set 0
"$publish" "$work/set" "$root" 2 >/dev/null
touch "$work/reading"
(
  while [ -e "$work/reading" ]; do
    set_folder=$root/$(readlink "$root/current")
    [ "$(cat "$set_folder/a")" = "$(cat "$set_folder/sub folder/b")" ] || touch "$work/mixed"
  done
) &
reader=$!
for number in 2 3 4 5 6 7 8; do
  make_set "$number"
  "$publish" "$work/set" "$root" 2 >/dev/null
done
rm "$work/reading"
wait "$reader"
[ ! -e "$work/mixed" ] || fail "a reader saw a mixed set"
[ "$(cat "$root/current/a")" = 8 ] || fail "the last set is not current"
[ "$(sets)" = 3 ] || fail "$(sets) sets are left, not 3"

# What a killed run left does not stay, and damage is put right.
mkdir "$root/.new-1"
echo 9 >"$root/$(current)/a"
[[ $("$publish" "$work/set" "$root") == *damaged* ]] || fail "damage was not seen"
[ "$(cat "$root/current/a")" = 8 ] || fail "damage was not put right"
[ -z "$(find "$root" -name '.new-*')" ] || fail "left-overs are there"

# Ten at once.
runs=()
for _ in 1 2 3 4 5 6 7 8 9 10; do
  "$publish" "$work/set" "$root" >/dev/null &
  runs+=($!)
done
for run in "${runs[@]}"; do wait "$run" || fail "one of ten runs failed"; done

# Refusals leave the old set serving.
mkdir "$work/empty"
if "$publish" "$work/empty" "$root" 2>/dev/null; then fail "an empty set was published"; fi
ln -s /etc/passwd "$work/set/link"
if "$publish" "$work/set" "$root" 2>/dev/null; then fail "a link was published"; fi
if "$publish" "$work/set" "$work/nowhere" 2>/dev/null; then fail "published to nowhere"; fi
[ "$(cat "$root/current/a")" = 8 ] || fail "a refused run changed the current set"
echo "publish-static: ok"
