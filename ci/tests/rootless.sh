#!/usr/bin/env bash
# tbuild as an ordinary user: the digests of root, without root. Needs root (to make the user) and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-rootless.XXXXXX")
name=tb$RANDOM
plain=tc$RANDOM
finish() {
    for user in $name $plain; do
        ! id $user >/dev/null 2>&1 || userdel -rf $user >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"
install -m 755 "$tbuild" "$work/tbuild"
useradd -m $name
grep -q "^$name:" /etc/subuid || fail "useradd granted $name no subordinate ids"
useradd -m $plain
sed -i "/^$plain:/d" /etc/subuid /etc/subgid
# as USER COMMAND...: in a session of the user's own, with nothing of root's
as() {
    local user=$1 home
    shift
    home=$(getent passwd "$user" | cut -d: -f6)
    (cd "$work" && env -i PATH="$PATH" HOME="$home" ${extra:-} setpriv --reuid "$user" --regid "$user" --init-groups -- "$@")
}

# --- a file system with many owners ----------------------------------------------------------------------------
mkdir -p "$work/app/files"
cp -r "$here/../../lockfiles" "$work/app/" 2>/dev/null || true
for file in $(seq 50); do echo "$file" >"$work/app/files/$file"; done
cat >"$work/app/Dockerfile" <<'D'
FROM debian:bookworm AS build
RUN useradd -u 4711 app && mkdir -p /srv/a/b && echo data >/srv/a/b/file && chown -R app:4000 /srv/a && chmod 4755 /srv/a/b/file
RUN cp /bin/true /srv/cap && chown 65534:65534 /srv/cap && chmod 2711 /srv/cap && ln /srv/cap /srv/a/cap
COPY --chown=33:33 files /srv/files
RUN rm -r /srv/files/1 /usr/share/doc && rm -r /srv/a/b && mkdir /srv/a/b && echo new >/srv/a/b/new && id >/id && mkfifo /srv/fifo
USER 4711:4000
RUN id >/tmp/id && umask >>/tmp/id && touch /srv/a/mine 2>/dev/null || echo denied >/tmp/denied
FROM debian:bookworm
COPY --from=build /srv /srv
RUN stat -c '%n %u:%g %a %s' $(find /srv /var/mail /etc/shadow -type f) | sort >/listing
D
root=$("$tbuild" --store "$work/store" --progress quiet -C "$work/app" build .) || fail 'root cannot build'
chown -R $name: "$work/app"
mine=$(as $name "$work/tbuild" --progress plain -C "$work/app" build . 2>"$work/log") || { cat "$work/log" >&2; fail 'an ordinary user cannot build'; }
same 'an ordinary user gets the ID of root' "$root" "$mine"
home=$(getent passwd $name | cut -d: -f6)
[ -d "$home/.cache/tbuild/blobs" ] || fail 'the store is not in the cache folder'
ok "the store is in the user's cache folder"
same 'nothing in the store is owned by root' '' "$(find "$home/.cache/tbuild" -uid 0 -print -quit)"
same 'built again, nothing runs' 0 "$(ran "$(as $name "$work/tbuild" --progress plain -C "$work/app" build . 2>&1)")"
# A new store whose layers come from archives: every snapshot is unpacked.
as $name "$work/tbuild" --progress quiet -C "$work/app" build . -o type=oci,dest="$home/image.tar" >/dev/null
"$tbuild" --store "$work/store" --progress quiet -C "$work/app" build . -o type=oci,dest="$work/image.tar" >/dev/null
cmp -s "$home/image.tar" "$work/image.tar" || fail 'the archives of root and user differ'
ok 'and the same archive'
as $name "$work/tbuild" --progress quiet -C "$work/app" build . -o type=local,dest="$home/files" >/dev/null
same 'files that it exports are its own' '' "$(find "$home/files" ! -user $name -print -quit)"
as $name rm -rf "$home/files"
ok 'and it can remove them'

# --- exit codes, signals, tools -------------------------------------------------------------------------------
mkdir -p "$work/bad"; cp -r "$work/app/lockfiles" "$work/bad/"
printf 'FROM debian:bookworm\nRUN exit 9\n' >"$work/bad/Dockerfile"; chown -R $name: "$work/bad"
exits 'a failing step is exit 1' 1 as $name "$work/tbuild" -C "$work/bad" build .
printf 'FROM debian:bookworm\nRUN sleep 98767\n' >"$work/bad/Dockerfile"
as $name "$work/tbuild" --progress plain -C "$work/bad" build . >/dev/null 2>&1 & child=$!
for _ in $(seq 300); do pgrep -f '^sleep 98767' >/dev/null && break; sleep 0.1; done
pgrep -f '^sleep 98767' >/dev/null || fail 'the step did not start'
pkill -INT -u $name -x tbuild; wait $child && fail 'an interrupted build succeeded' || true
for _ in $(seq 50); do pgrep -f '^sleep 98767' >/dev/null || break; sleep 0.1; done
pgrep -f '^sleep 98767' >/dev/null && fail 'a process is left after Ctrl-C'
ok 'Ctrl-C leaves no process'
as $name sh -c 'mkdir "$HOME/repo" && cd "$HOME/repo" && git init -q -b main && echo text >file && git add file &&
    git -c user.name=a -c user.email=a@example.com commit -qm one'
mkdir "$work/git"
printf '[project]\nname = "x"\n[source.s]\ngit = "file://%s/repo"\nrev = "main"\n[image.x]\ndockerfile = "Dockerfile"\ncontexts.s = "source:s"\n' "$home" >"$work/git/tbuild.toml"
printf 'FROM scratch\nCOPY --from=s . /\n' >"$work/git/Dockerfile"; chown -R $name: "$work/git"
output=$(as $name "$work/tbuild" --progress plain -C "$work/git" image x 2>&1) || fail "a git source: $output"
ok "git reads the user's repository"

exits 'it makes room in its store' 0 as $name "$work/tbuild" gc --keep-for 0
same 'whoever owns the files of layers' '' "$(find "$home"/.cache/tbuild/snapshots*/ "$home/.cache/tbuild/tmp" -mindepth 1 -print -quit)"

# --- one id alone ---------------------------------------------------------------------------------------------
mkdir "$work/one"
install -m 755 /bin/busybox "$work/one/busybox"
printf 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "sh", "-c", "/bin/busybox id -u >/id"]\n' >"$work/one/Dockerfile"
chmod -R a+rX "$work/one"
one=$(as $plain "$work/tbuild" --progress plain build "$work/one" 2>"$work/log") || { cat "$work/log" >&2; fail 'one id alone cannot build'; }
same 'one id alone builds what is root'"'"'s alone' "$("$tbuild" --store "$work/store" --progress quiet build "$work/one")" "$one"
printf 'RUN ["/bin/busybox", "chown", "33", "/id"]\n' >>"$work/one/Dockerfile"
exits 'chown to others fails in the step' 1 as $plain "$work/tbuild" build "$work/one"
holds 'and the hint says why' "$output" subuid
printf 'FROM scratch\nCOPY --chown=33 busybox /bin/busybox\nRUN ["/bin/busybox", "true"]\n' >"$work/one/Dockerfile"
exits 'a layer of other owners cannot be unpacked' 3 as $plain "$work/tbuild" build "$work/one"
holds 'and the error names file and owner' "$output" 'of the layer belongs to 33:33'
# --- doctor ---------------------------------------------------------------------------------------------------
exits 'doctor finds nothing missing as root' 0 "$tbuild" --store "$work/store" doctor
holds 'and has run a step' "$output" 'steps: sandbox: a step ran'
exits 'nor as an ordinary user' 0 as $name "$work/tbuild" doctor
holds 'who has many ids' "$output" 'ok      user: in a user namespace with 65537 ids'
exits 'one id alone is worth a warning' 0 as $plain "$work/tbuild" doctor
holds 'with what to do about it' "$output" 'usermod --add-subuids'
exits 'a store that cannot be written is missing' 3 as $name "$work/tbuild" --store /proc/store doctor
exits 'a refused user namespace too' 3 as $name unshare -r sh -c \
    'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$0" --json doctor' "$work/tbuild"
holds 'in JSON, one a line' "$output" '{"check":"user","level":"missing"'
exits 'builds say so as well' 3 as $name unshare -r sh -c \
    'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$0" build "$1"' "$work/tbuild" "$work/one"
holds 'and name doctor' "$output" 'tbuild doctor'
exits 'a registry that does not answer is missing' 3 "$tbuild" --store "$work/store" doctor --registry 127.0.0.1:1
done_testing
