#!/usr/bin/env bash
# tbuild as a user of docker build sees it: files, digests, caching, errors. Needs root and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-build.XXXXXX")
store=$work/store
daemon=
finish() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; } || true
    umount -R "$work/docker" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
t() { "$tbuild" --store "$store" --progress plain "$@"; }

# --- images from nothing -------------------------------------------------------------------------------------
mkdir -p "$work/app/sub"
printf '#include <stdio.h>\nint main(void){puts("hello from scratch");return 0;}\n' >"$work/hello.c"
cc -static -Os -o "$work/app/hello" "$work/hello.c"
echo one >"$work/app/a.txt"; echo two >"$work/app/sub/b.txt"; echo secret >"$work/app/ignored.log"
echo '*.log' >"$work/app/.dockerignore"
cat >"$work/app/Dockerfile" <<'D'
FROM scratch
COPY hello /hello
COPY . /data/
ENV GREETING=hi
ENTRYPOINT ["/hello"]
D
output=$(t build "$work/app" -t hello:test 2>&1); first=$(printf '%s\n' "$output" | grep '^sha256:')
holds 'an image has an ID' "$first" sha256:
output=$(t build "$work/app" 2>&1); same 'built again, nothing runs' 0 "$(ran "$output")"
same 'and the ID is the same' "$first" "$(printf '%s\n' "$output" | grep '^sha256:')"
find "$work/app" -exec touch {} +
same 'touched files run nothing' 0 "$(ran "$(t build "$work/app" 2>&1)")"
echo new >"$work/app/ignored.log"
same 'an ignored file runs nothing' 0 "$(ran "$(t build "$work/app" 2>&1)")"
sed -i '1i # a comment' "$work/app/Dockerfile"
same 'a comment in the Dockerfile runs the copy of it alone' 1 "$(ran "$(t build "$work/app" 2>&1)")"
sed -i 1d "$work/app/Dockerfile"
same 'taken back, nothing runs' 0 "$(ran "$(t build "$work/app" 2>&1)")"
echo changed >"$work/app/a.txt"
same 'one edited file runs one copy' 1 "$(ran "$(t build "$work/app" 2>&1)")"
echo one >"$work/app/a.txt"
second=$("$tbuild" --store "$work/other" --progress quiet build "$work/app")
same 'another store gives the same ID' "$first" "$second"
t build "$work/app" -o type=local,dest="$work/files" >/dev/null 2>&1
same 'the files are those of the context' two "$(cat "$work/files/data/sub/b.txt")"
[ ! -e "$work/files/data/ignored.log" ] || fail 'an ignored file is in the image'
ok 'an ignored file is not in the image'
t build "$work/app" -o type=oci,dest="$work/oci.tar" >/dev/null 2>&1
same 'skopeo reads the OCI archive' '[/hello]' "$(skopeo inspect --config --format '{{.Config.Entrypoint}}' "oci-archive:$work/oci.tar")"
t build "$work/app" -o type=oci,dest="$work/oci2.tar" >/dev/null 2>&1
cmp -s "$work/oci.tar" "$work/oci2.tar" || fail 'two exports differ'
ok 'two exports are the same bytes'

# --- steps on a Debian base ----------------------------------------------------------------------------------
mkdir -p "$work/deb"
cat >"$work/deb/Dockerfile" <<'D'
FROM debian:bookworm AS build
ARG WHO=world
RUN echo "hello $WHO" >/greeting && test -z "${HOST_SECRET:-}" && id -u >/who
RUN <<EOF
set -e
mkdir -p /out/deep
cp /greeting /out/deep/greeting
EOF
FROM debian:bookworm
COPY --from=build --chown=33:33 --chmod=0640 /out/deep /srv
WORKDIR /srv/made
USER www-data
RUN id -un >/tmp/name
D
export HOST_SECRET=leaks
(cd "$work/deb" && t build . >"$work/log" 2>&1) || { cat "$work/log" >&2; fail 'a Debian image does not build'; }
ok 'steps run on a Debian base'
(cd "$work/deb" && t build . -o type=local,dest="$work/debfiles" >/dev/null 2>&1)
same 'COPY --from carries content' 'hello world' "$(cat "$work/debfiles/srv/greeting")"
same 'COPY sets owner and mode' '33:33 640' "$(stat -c '%u:%g %a' "$work/debfiles/srv/greeting")"
same 'USER runs the step' www-data "$(cat "$work/debfiles/tmp/name")"
same 'times are canonical' 315532800 "$(stat -c %Y "$work/debfiles/tmp/name")"
[ ! -s "$work/debfiles/etc/resolv.conf" ] || fail "the machine's resolv.conf is in the image"
ok "nothing of the machine's is in the image"
output=$(cd "$work/deb" && t build . --build-arg WHO=you 2>&1)
holds 'an argument changes its step' "$output" '> RUN echo'
output=$(cd "$work/deb" && t build . 2>&1); same 'back to before, nothing runs' 0 "$(ran "$output")"
one=$(cd "$work/deb" && "$tbuild" --store "$store" --progress quiet build .)
cp -r "$work/deb/lockfiles" "$work/locks"
two=$(cd "$work/deb" && "$tbuild" --store "$work/third" --progress quiet build .)
same 'a fresh store gives the same ID' "$one" "$two"

# An edit among many files is unpacked alone, over what was there; the step over it must not tell the difference.
mkdir -p "$work/many/src"; cp -r "$work/deb/lockfiles" "$work/many/"
for file in $(seq 200); do echo "$file" >"$work/many/src/$file"; done
printf 'FROM debian:bookworm\nCOPY src /src\nRUN cd /src && sed -i s/1/one/ 1 && rm 2 && cat * >/all\n' >"$work/many/Dockerfile"
t -C "$work/many" build . >/dev/null 2>&1
echo edited >"$work/many/src/7"; echo edited >"$work/many/src/1"
one=$(t -C "$work/many" build . 2>/dev/null)
[ -n "$(find "$store/snapshots" -maxdepth 1 -name '*.over.*')" ] || fail 'an edit among many files was unpacked whole'
same 'an edit among many files gives the ID of a fresh store' "$one" "$("$tbuild" --store "$work/third" --progress quiet -C "$work/many" build .)"

# --- errors --------------------------------------------------------------------------------------------------
mkdir -p "$work/bad"
printf 'FROM scratch\nCOPI a /a\n' >"$work/bad/Dockerfile"
exits 'an unknown instruction is exit 2' 2 t build "$work/bad"
holds 'with line and caret' "$output" 'Dockerfile:2'
holds 'and a suggestion' "$output" COPY
printf 'FROM scratch\nCOPY nothing /a\n' >"$work/bad/Dockerfile"
exits 'a missing file is exit 1' 1 t build "$work/bad"
holds 'and is named' "$output" nothing
printf 'FROM debian:bookworm\nRUN echo on its way; echo to its end >&2; exit 9\n' >"$work/bad/Dockerfile"
cp -r "$work/deb/lockfiles" "$work/bad/"
exits 'a failing step is exit 1' 1 t -C "$work/bad" build .
holds 'its output is shown' "$output" 'to its end'
printf 'FROM debian:bookworm\nRUN --device=gpu true\n' >"$work/bad/Dockerfile"
exits 'what is not there yet is refused by name' 2 t build "$work/bad"
holds 'never ignored' "$output" device
printf '[project]\nname = "x"\n[image.a]\ncontxt = "."\n' >"$work/bad/tbuild.toml"
exits 'a wrong key of tbuild.toml is exit 2' 2 t -C "$work/bad" image a
holds 'with file and line' "$output" 'tbuild.toml:4'
holds 'and a suggestion' "$output" context

# --- ended in the middle -------------------------------------------------------------------------------------
printf 'FROM debian:bookworm\nRUN sleep 98761\n' >"$work/bad/Dockerfile"; rm "$work/bad/tbuild.toml"
"$tbuild" --store "$store" --progress plain -C "$work/bad" build . >/dev/null 2>&1 & child=$!
for _ in $(seq 100); do pgrep -f '^sleep 98761' >/dev/null && break; sleep 0.2; done
pgrep -f '^sleep 98761' >/dev/null || fail 'the step did not start'
kill -INT $child; wait $child && fail 'an interrupted build succeeded' || true
pgrep -f '^sleep 98761' >/dev/null && fail 'a process is left after Ctrl-C'
ok 'Ctrl-C leaves no process'
grep -q "$work" /proc/mounts && fail 'a mount is left after Ctrl-C'
ok 'and no mount'
"$tbuild" --store "$store" --progress plain -C "$work/bad" build . >/dev/null 2>&1 & child=$!
for _ in $(seq 100); do pgrep -f '^sleep 98761' >/dev/null && break; sleep 0.2; done
kill -9 $child; wait $child 2>/dev/null || true
for _ in $(seq 50); do pgrep -f '^sleep 98761' >/dev/null || break; sleep 0.1; done
pgrep -f '^sleep 98761' >/dev/null && fail 'a process is left after kill -9'
ok 'kill -9 leaves no process'
same 'and the store is right' 0 "$(ran "$(t build "$work/app" 2>&1)")"

# --- a registry and a Docker Engine --------------------------------------------------------------------------
port=$((20000 + RANDOM % 20000))
"$tbuild" --store "$store" registry serve --listen 127.0.0.1:$port >/dev/null 2>"$work/registry.log" & daemon=$!
for _ in $(seq 50); do curl -fs "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.1; done
output=$(t build "$work/app" -t 127.0.0.1:$port/hello:v1 --push 2>&1)
holds 'pushing to the own registry moves no bytes' "$output" '0 bytes'
same 'skopeo finds it' '[/hello]' "$(skopeo inspect --tls-verify=false --config --format '{{.Config.Entrypoint}}' "docker://127.0.0.1:$port/hello:v1")"
output=$(t build "$work/app" -t 127.0.0.1:$port/hello:v1 --push 2>&1); same 'pushed again, nothing runs' 0 "$(ran "$output")"
printf 'FROM 127.0.0.1:%s/hello:v1\nCOPY a.txt /more\n' $port >"$work/app/Dockerfile.on"
"$tbuild" --store "$work/fourth" --progress quiet -C "$work/app" build . -f Dockerfile.on -o type=local,dest="$work/on" >/dev/null
same 'FROM a registry' one "$(cat "$work/on/more")"

# A tag that moved: nothing, until the lock is told. A COPY over it then stays: it is keyed on facts of its destination.
mkdir "$work/moved"; echo mine >"$work/moved/mine"
printf '[project]\nname = "moved"\n[image.on]\ncontext = "."\ndockerfile = "Dockerfile"\n' >"$work/moved/tbuild.toml"
printf 'FROM 127.0.0.1:%s/hello:v1\nCOPY mine /mine\n' $port >"$work/moved/Dockerfile"
on() { t -C "$work/moved" "$@" 2>&1; }
before=$(on image on | grep '^sha256:')
echo moved >"$work/app/a.txt"
t build "$work/app" -t 127.0.0.1:$port/hello:v1 --push >/dev/null 2>&1
output=$(on image on); same 'a base that moved by its tag runs nothing' 0 "$(ran "$output")"
same 'and changes nothing' "$before" "$(printf '%s\n' "$output" | grep '^sha256:')"
on lock --update "base:127.0.0.1:$port/hello:v1" >/dev/null
output=$(on image on)
[ "$before" != "$(printf '%s\n' "$output" | grep '^sha256:')" ] || fail 'the lock was told of a moved base, and the image is the same'
ok 'once the lock is told, the image is on the new base'
case $output in *'> COPY mine'*) fail 'a COPY over a moved base ran again' ;; esac
ok 'and the COPY over it stays'
echo one >"$work/app/a.txt"
kill $daemon; wait $daemon 2>/dev/null || true; daemon=

# --- a base for two platforms: packages of each, locked by itself -------------------------------------------
mkdir "$work/two"
printf '[project]\nname = "two"\n[image.on]\ncontext = "."\ndockerfile = "Dockerfile"\nplatforms = ["linux/arm64", "linux/amd64"]\n' >"$work/two/tbuild.toml"
printf 'FROM debian:bookworm\nRUN true\n' >"$work/two/Dockerfile"
t -C "$work/two" lock >/dev/null 2>&1 || fail 'lock of a base for two platforms'
for lock in bookworm:amd64 bookworm-arm64:arm64; do
    same "the lock of ${lock#*:}" "architecture = \"${lock#*:}\"" "$(grep -m1 '^architecture' "$work/two/lockfiles/base-debian-${lock%:*}.lock")"
done

# --- killed in a push ----------------------------------------------------------------------------------------
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$work" $port >"$work/registry.yml"
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 & daemon=$!
for _ in $(seq 50); do curl -fs "http://127.0.0.1:$port/v2/" >/dev/null && break; sleep 0.1; done
mkdir "$work/push"
printf 'FROM scratch\nCOPY blob /\n' >"$work/push/Dockerfile"
for round in 1 2 3; do
    head -c 60000000 /dev/urandom >"$work/push/blob"
    killed_at '\| > push ' "$work/log" "$tbuild" --store "$store" --progress plain build "$work/push" -t 127.0.0.1:$port/push:v$round --push
    exits "killed in a push ($round), the next run ends well" 0 t build "$work/push" -t 127.0.0.1:$port/push:v$round --push
    skopeo copy -q --src-tls-verify=false "docker://127.0.0.1:$port/push:v$round" "oci:$work/pulled:v$round" || fail 'what was pushed cannot be pulled'
    ok 'and the registry has it whole'
done
kill $daemon; wait $daemon 2>/dev/null || true; daemon=

docker=$(command -v /usr/bin/docker || command -v docker)
mkdir -p "$work/docker"
dockerd --data-root "$work/docker/data" --exec-root "$work/docker/exec" --pidfile "$work/docker/pid" -H "unix://$work/docker/sock" \
    --iptables=false --bridge=none --storage-driver=vfs >"$work/docker/log" 2>&1 & daemon=$!
for _ in $(seq 150); do "$docker" -H "unix://$work/docker/sock" version >/dev/null 2>&1 && break; sleep 0.2; done
DOCKER_HOST=unix://$work/docker/sock t build "$work/app" -t hello:loaded --load >/dev/null 2>"$work/log" || { cat "$work/log" "$work/docker/log" >&2; fail '--load'; }
same 'docker runs what --load hands over' 'hello from scratch' "$("$docker" -H "unix://$work/docker/sock" run --rm --network none hello:loaded)"
done_testing
