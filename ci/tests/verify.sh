#!/usr/bin/env bash
# Reproducible builds as a user sees them: diff, verify, normalizers, and one digest wherever and however it is built.
# Needs root and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-verify.XXXXXX")
store=$work/store
daemon=
finish() {
    [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; } || true
    for mounted in ext4 tmpfs merged; do umount -R "$work/$mounted" 2>/dev/null || true; done
    rm -rf "$work"
}
trap finish EXIT
t() { "$tbuild" --store "$store" --progress quiet -C "$work/deb" "$@"; }
# at CONTEXT DOCKERFILE: writes it
at() { mkdir -p "$1"; cat >"$1/Dockerfile"; }

# --- what is reproducible --------------------------------------------------------------------------------------
mkdir -p "$work/deb/src/sub"
for file in $(seq 50); do echo "$file" >"$work/deb/src/$file"; done
ln -s ../1 "$work/deb/src/sub/link"; chmod 750 "$work/deb/src/sub"; printf '*.log\nlockfiles\n' >"$work/deb/.dockerignore"
touch "$work/deb/src/ignored.log"
at "$work/deb" <<'D'
FROM debian:bookworm AS build
COPY src /src
RUN find /src | xargs ls -ld --time-style=+ | awk '{ print $1, $3, $4, $NF }' >/listing && hostname >/name && umask >/mask
RUN locale >/locale; date -d @0 >/zone; env | grep -v _CA >/env; id >/id; ls -f /src | sort >/order
FROM debian:bookworm
COPY --from=build /listing /name /mask /locale /zone /env /id /order /
COPY . /context
D
id=$(t build .)
exits 'a Debian image is reproducible' 0 t verify --build .
holds 'and says as what' "$output" "image:build is reproducible: $id"
holds 'reading order is varied, too' "$output" 'reading order of folders (disorderfs)'
holds 'and what is not, is said' "$output" 'not varied: date'
[ -z "$(ls "$store/scratch/verify")" ] || fail 'something is left of the two stores'
ok 'nothing is left of the two stores'
grep -q "$work" /proc/mounts && fail 'a mount is left'
ok 'and no mount'
printf '[project]\nname = "x"\n[image.app]\ncontext = "src"\ndockerfile = "app.Dockerfile"\n[artifact.sum]\nimage = "app"\ninputs.src = "src"\nrun = "cat /inputs/src/* >/outputs/all 2>/dev/null; true"\noutputs = ["all"]\n' >"$work/deb/tbuild.toml"
printf 'FROM debian:bookworm\nCOPY . /src\nRUN cat /src/* >/all 2>/dev/null; true\n' >"$work/deb/app.Dockerfile"
exits 'an image of tbuild.toml' 0 t verify app --keep "$work/kept"
same 'its stores are kept if asked for' '2' "$(find "$work/kept" -maxdepth 2 -name oci-layout | wc -l)"
rm -rf "$work/kept"
exits 'an artifact' 0 t verify artifact:sum
id=$(t image app)
chmod -R g+w,o-rx "$work/deb/src"
same 'a checkout under another umask is the same image' "$id" "$(t image app)"
chmod -R g-w,o+rX "$work/deb/src"
rm "$work/deb/tbuild.toml"

# --- what is not -----------------------------------------------------------------------------------------------
at "$work/deb/bad" <<'D'
FROM debian:bookworm
RUN mkdir /a && echo same >/a/same
RUN date >/a/now && \
    chmod $(( 600 + $(nproc) )) /a/same
RUN head -c 16 /dev/urandom >/x
D
exits 'a date in a file is exit 4' 4 t verify --build bad
holds 'the step is named' "$output" 'step:build/0/2 wrote other bytes from the same inputs'
holds 'with its line' "$output" 'bad/Dockerfile:3'
holds 'with its text' "$output" 'RUN date >/a/now'
holds 'with its layer' "$output" 'layer 3 of the result'
holds 'the file is named' "$output" '/a/now'
holds 'a header field of another' "$output" 'mode: 0602 | 0601'
holds 'and what a later step did' "$output" 'layer 4: RUN head -c 16 /dev/urandom >/x'
[ "$(printf '%s\n' "$output" | grep -cE '^ +[-+] +1: .*(UTC|GMT|:)')" = 2 ] || fail "the lines are not shown: $output"
ok 'with both lines'
got=0; json=$(t --json verify --build bad 2>/dev/null) || got=$?
same 'the same as JSON' "4 false step:build/0/2 /a/now" "$got $(printf '%s' "$json" | python3 -c '
import json, sys
said = json.load(sys.stdin)
step = said["steps"][0]
print(json.dumps(said["reproducible"]), step["node"], step["difference"]["files"][0]["path"])')"
printf 'FROM debian:bookworm\nRUN exit 3\n' | at "$work/deb/broken"
exits 'a build that fails is not compared' 1 t verify --build broken
exits 'what is not there is exit 2' 2 t verify nothing

# --- normalizers -----------------------------------------------------------------------------------------------
at "$work/deb/norm" <<'D'
FROM debian:bookworm
RUN mkdir -p /usr/share/doc/x && echo words >/usr/share/doc/x/changelog && gzip /usr/share/doc/x/changelog && ldconfig && \
    od -An -tx1 -N16 /dev/urandom | tr -d ' \n' >/etc/machine-id && date >/var/log/dpkg.log
D
exits 'what tools write is not reproducible' 4 t verify --build norm
holds 'and there is a hint' "$output" '# tbuild: normalize=apt,gzip,ldconfig,machine-id'
sed -i '2i # tbuild: normalize=apt,gzip,ldconfig,machine-id' "$work/deb/norm/Dockerfile"
exits 'declared, it is' 0 t verify --build norm
t build norm -o type=local,dest="$work/normal" >/dev/null
same 'files are whole' words "$(gzip -dc "$work/normal/usr/share/doc/x/changelog.gz")"
same 'no machine has an ID yet' 0 "$(stat -c %s "$work/normal/etc/machine-id")"
sed -i 's/ldconfig,/ldconfg,/' "$work/deb/norm/Dockerfile"
exits 'an unknown one is exit 2' 2 t build norm
holds 'with a suggestion' "$output" 'did you mean ldconfig?'

# --- diff ------------------------------------------------------------------------------------------------------
mkdir "$work/deb/one" "$work/deb/two"
echo 'FROM scratch' >"$work/deb/one/Dockerfile"
printf 'COPY text data /d/\nENV A=1\n' >>"$work/deb/one/Dockerfile"
cp "$work/deb/one/Dockerfile" "$work/deb/two"; sed -i s/A=1/A=2/ "$work/deb/two/Dockerfile"
seq 100 >"$work/deb/one/text"; seq 100 | sed s/^50$/fifty/ >"$work/deb/two/text"
head -c 40000000 /dev/zero >"$work/deb/one/data"; cp "$work/deb/one/data" "$work/deb/two/data"
printf X | dd of="$work/deb/two/data" bs=1 seek=39999990 conv=notrunc status=none; chmod 600 "$work/deb/two/data"
a=$(t build one -o type=oci,dest="$work/a.tar" -o type=docker,dest="$work/a.docker.tar" -o type=local,dest="$work/a")
b=$(t build two -o type=oci,dest="$work/b.tar")
exits 'an image is the same as itself' 0 t diff "$a" "$a"
for other in a.tar a.docker.tar a; do exits "and as its $other" 0 t diff "$a" "$work/$other"; done
skopeo copy -q "oci-archive:$work/a.tar" "docker-archive:$work/skopeo.tar:x/y:z"
exits "and as skopeo's archive of it" 0 t diff "$a" "$work/skopeo.tar"
gzip -k "$work/skopeo.tar"
exits 'compressed or not' 0 t diff "$work/skopeo.tar.gz" "$work/a.tar"
exits 'two images differ' 1 t diff "$a" "$work/b.tar"
holds 'in a field of the config' "$output" 'config.Env[1]'
holds 'in a line' "$output" '+  50: fifty'
holds 'in a mode' "$output" 'mode: 0644 | 0600'
holds 'in a byte far into a file' "$output" 'first difference at byte 39999990'
holds 'of a layer that is named by its step' "$output" 'layer 1: COPY text data /d/'
"$tbuild" --store "$store" registry serve --listen 127.0.0.1:0 >/dev/null 2>"$work/registry.log" & daemon=$!
port=; for _ in $(seq 50); do port=$(sed -nE 's/.*127\.0\.0\.1:([0-9]+).*/\1/p' "$work/registry.log" | head -1); [ -z "$port" ] || break; sleep 0.1; done
[ -n "$port" ] || fail "the registry does not say where it is: $(cat "$work/registry.log")"
t build two -t "127.0.0.1:$port/two:v1" --push >/dev/null
exits 'an image of a registry' 1 "$tbuild" --store "$work/other" --progress quiet diff "$work/a.tar" "127.0.0.1:$port/two:v1"
holds 'differs just so' "$output" '+  50: fifty'
exits 'by the name that the own registry knows' 0 t diff two:v1 "$b"
kill $daemon; wait $daemon 2>/dev/null || true; daemon=
exits 'what is nowhere is exit 2' 2 t diff "$a" ./nowhere.tar
exits 'what is no image is exit 2' 2 t diff "$a" "$work/deb/one/text"

# --- one digest ------------------------------------------------------------------------------------------------
truncate -s 2G "$work/disk"; mkfs.ext4 -q "$work/disk"
mkdir "$work/ext4" "$work/tmpfs" "$work/lower" "$work/merged" "$work/tmpfs-upper"
mount -o loop "$work/disk" "$work/ext4"
mount -t tmpfs tmpfs "$work/tmpfs"
mkdir "$work/tmpfs/upper" "$work/tmpfs/work"
mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$work/tmpfs/upper,workdir=$work/tmpfs/work" "$work/merged"
for place in ext4 tmpfs merged; do
    cp -r "$work/deb" "$work/$place/context"
done
id=$(t build .)
digest() { "$tbuild" --progress quiet --store "$1" -C "$2/context" -j "$3" build .; }
same 'one digest on ext4, with one job' "$id" "$(digest "$work/ext4/s" "$work/ext4" 1)"
same 'on tmpfs, with eight' "$id" "$(digest "$work/tmpfs/a-longer-name/store" "$work/tmpfs" 8)"
same 'of a context on overlayfs' "$id" "$(digest "$work/ext4/another" "$work/merged" 8)"
# The kernel takes no upper folder on overlayfs, nor whiteouts: layers are unpacked in memory there.
same 'of a store on overlayfs' "$id" "$(digest "$work/merged/store" "$work/merged" 8)"
same 'which keeps nothing unpacked' '' "$(find "$work/merged/store/snapshots" "$work/merged/store/memory" -mindepth 1)"
output=$("$tbuild" --progress plain --store "$work/merged/store" -C "$work/merged/context" build . 2>&1)
holds 'built again there, nothing runs' "$output" ' 0 run'
holds 'and it says why the next edit will be slow' "$output" 'overlayfs and NFS hold no unpacked layers'
done_testing
