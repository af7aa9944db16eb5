#!/usr/bin/env bash
# Executors are interchangeable: one Dockerfile makes one image in namespaces of tbuild's own, through crun and in
# containers of a Docker Engine, the first two as root and as an ordinary user, and what one has built is there for the
# others. Needs root (to make the user, and for the engine, which is started here) and Debian's archive.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-executors.XXXXXX")
name=tx$RANDOM
plain=ty$RANDOM
daemon=
finish() {
    # By its id; it takes its containerd along.
    [ -z "$daemon" ] || { kill $daemon; wait $daemon 2>/dev/null || true; umount "$work"/engine/exec/netns/* 2>/dev/null || true; }
    for user in $name $plain; do
        ! id $user >/dev/null 2>&1 || userdel -rf $user >/dev/null 2>&1 || true
    done
    rm -rf "$work"
}
trap finish EXIT
chmod 755 "$work"

mkdir -p "$work/app/files/deep"
cp -r "$here/../../lockfiles" "$work/app/"
for file in $(seq 20); do echo "$file" >"$work/app/files/$file"; done
echo top-secret >"$work/secret"
cat >"$work/app/Dockerfile" <<'D'
FROM debian:bookworm AS base
RUN useradd -u 4711 app
FROM base
# Owners, modes, links, devices, names.
RUN mkdir -p /srv/a/b && echo data >/srv/a/b/file && chown -R app:4000 /srv/a && chmod 4755 /srv/a/b/file
RUN cp /bin/true /srv/true && chown 65534:65533 /srv/true && chmod 2711 /srv/true && ln /srv/true /srv/a/true && ln -s ../nowhere /srv/a/link
RUN mkfifo -m 620 /srv/fifo && mknod -m 640 /srv/null c 1 3 && mkdir -m 1777 /srv/sticky && touch "/srv/a b" "$(printf '/srv/\377\t')"
COPY --chown=33:33 files /srv/files
# Whiteouts, opaque folders, what is moved, what is only touched.
RUN rm -r /srv/files/1 /usr/share/doc && rm -r /srv/a/b && mkdir /srv/a/b && echo new >/srv/a/b/new && mv /srv/files/2 /srv/files/deep/2 && \
    touch /etc/issue /etc/passwd && truncate -s 1M /srv/sparse
# Mounts of every kind, and those within others.
RUN --mount=type=bind,source=files,target=/in --mount=type=bind,from=base,source=/etc,target=/in2,rw \
    --mount=type=cache,target=/cache/deep,uid=5,gid=6,mode=0700 --mount=type=tmpfs,target=/cache/deep/memory,size=1m \
    --mount=type=secret,id=s,target=/cache/deep/secret,uid=4711,mode=0440 --mount=type=tmpfs,target=/dev/shm/more <<'R'
ls -ln --time-style=+ /in /in2/passwd /cache >/mounted; cat /in/3 /cache/deep/secret >>/mounted; stat -c '%n %u:%g %a' /cache/deep /cache/deep/secret >>/mounted
echo x >/in2/passwd; echo x >/cache/deep/kept; (echo x >/in/3) 2>/dev/null || echo sealed >>/mounted; ls -a /cache/deep /dev/shm >>/mounted
R
RUN --network=none ls /sys/class/net >/links; cat /proc/net/dev | cut -d: -f1 >>/links
# What a program sees of its surroundings.
RUN exec >/seen 2>&1; env | sort; id; umask; hostname; pwd; tty; ulimit -a; ulimit -Ha; echo $$; cat /etc/hosts /proc/self/limits /proc/self/cgroup; \
    grep -E '^(Pid|Tgid|NSpid|Groups|Cap|NoNewPrivs|Seccomp:|Sig[BIC])' /proc/self/status; cut -d' ' -f5-8 /proc/self/stat; cat /proc/self/oom_score_adj
RUN exec >/dev-seen 2>&1; chmod 640 /dev/null; ls -lnR --time-style=+ /dev | sed 's/^\(d.*\) [0-9]\+ \+\([^ ]* [^ ]*$\)/\1 \2/; /^total/d; / pts\/[0-9]/d'; readlink /proc/self/fd/0; ls /proc/self/fd
RUN awk '{ sub(/lowerdir.*/, "", $4); print $2, $3, $4 }' /proc/mounts | sort -u >/mounts-seen; head -c 8 /proc/kcore /proc/keys /proc/sysrq-trigger >/masks-seen 2>&1; \
    ls /proc/acpi /proc/scsi /sys/firmware >>/masks-seen 2>&1; true
# What it may not do.
RUN exec >/refused 2>&1; for try in 'mount -t tmpfs none /mnt' 'unshare -m true' 'hostname x' 'mknod /b b 7 0' 'chroot / true' 'setpriv --reuid=4711 id -u' \
    'chown 1:2 /seen' 'date -s 2000-01-01' 'dmesg' 'ip link add d type dummy' 'nice -n -5 true' 'kill -0 1'; do sh -c "$try" >/dev/null; echo "$try: $?"; done
USER 4711:4000
WORKDIR /srv/a
RUN ls -ln --time-style=+ /dev/null >mine; stat -Lc '%u:%g' /dev/stdout /dev/stderr >>mine; id >>mine; umask >>mine; echo out >/dev/stdout; echo err >/dev/stderr; grep -E '^(Cap|Groups|Uid|Gid)' /proc/self/status >>mine; \
    touch /usr/x 2>>mine || echo denied >>mine; echo "$HOME" >>mine
SHELL ["/bin/bash", "-uc"]
USER root
RUN --network=none echo "${BASH_VERSION%%.*}" >/bash; trap '' TERM; (sleep 99873 &) ; exit 0
D
docker=$(command -v /usr/bin/docker || command -v docker)
mkdir "$work/engine"
export DOCKER_HOST=unix://$work/engine/sock DOCKER_CONFIG=$work/engine/client
dockerd --data-root "$work/engine/data" --exec-root "$work/engine/exec" --pidfile "$work/engine/pid" -H "$DOCKER_HOST" \
    --iptables=false --bridge=none >"$work/engine/log" 2>&1 & daemon=$!
for _ in $(seq 150); do "$docker" version >/dev/null 2>&1 && break; sleep 0.2; done
"$docker" version >/dev/null || { cat "$work/engine/log" >&2; fail 'no docker engine'; }

# build EXECUTOR STORE ARGUMENTS...
build() {
    local executor=$1 store=$2
    shift 2
    "$tbuild" --executor "$executor" --store "$work/$store" --progress plain -C "$work/app" build . --secret id=s,src="$work/secret" "$@" 2>"$work/log" ||
        { cat "$work/log" >&2; fail "--executor $executor cannot build"; }
}
own=$(build sandbox own -o type=local,dest="$work/own-files")
through=$(build crun crun -o type=local,dest="$work/crun-files")
[ "$own" = "$through" ] || diff -r --no-dereference "$work/own-files" "$work/crun-files" >&2 || true
same 'two executors, two stores, one image' "$own" "$through"
through=$(build docker docker -o type=local,dest="$work/docker-files")
[ "$own" = "$through" ] || diff -r --no-dereference "$work/own-files" "$work/docker-files" >&2 || true
same "and the same in a Docker Engine's containers" "$own" "$through"
same 'which leaves no container in it' '' "$("$docker" ps --all --quiet)"
same 'and no image' '' "$("$docker" images --all --quiet)"
cached() { find "$work/$1/scratch/cache-mounts" -path '*/files*' -printf '%P %U:%G %m\n' | sort; }
holds 'a cache keeps what is written' "$(cached own)" '/files/kept'
same 'and that alone, whichever runs' "$(cached own)" "$(cached crun)"
same 'a container, too' "$(cached own)" "$(cached docker)"
holds 'a step has seen what it should' "$(cat "$work/own-files/mounted")" top-secret
same 'a step of the one is a hit for the other' "$own" "$(build crun own)"
same 'and nothing runs' 0 "$(ran "$(cat "$work/log")")"
same 'for the third as well' "$own" "$(build docker own)"
same 'and nothing runs then' 0 "$(ran "$(cat "$work/log")")"
same "the machine's devices are as they were" '0:0 666' "$(stat -c '%u:%g %a' /dev/null)"
same 'nothing is left mounted' '' "$(grep "$work" /proc/mounts | grep -v "$work/engine" || true)"
same 'and nothing runs on' '' "$(pgrep -f '^sleep 99873$' || true)"

# --- as an ordinary user ---------------------------------------------------------------------------------------
# user NAME: makes one with a program and the Dockerfile of standard input in its home folder, which is $home then.
user() {
    useradd -m "$1"
    home=$(getent passwd "$1" | cut -d: -f6)
    install -m 755 "$tbuild" "$home/tbuild"
    mkdir "$home/app"
    cp "$(dpkg -L busybox-static | grep 'bin/busybox$')" "$home/app/busybox"
    cat >"$home/app/Dockerfile"
    chown -R "$1:" "$home"
}
# mine USER EXECUTOR: the image that a user gets
mine() {
    (cd "$home" && env -i PATH="$PATH" HOME="$home" setpriv --reuid "$1" --regid "$1" --init-groups -- \
        ./tbuild --executor "$2" --store "$home/$2" --progress quiet build app)
}
user $name <<'D'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin; mkdir /tmp /etc; chmod 1777 /tmp; echo root:x:0:0::/:/bin/sh >/etc/passwd"]
RUN id >/id; mknod /tmp/p p; echo x >/tmp/x; chown 33:34 /tmp/x /bin/busybox; chmod 4711 /bin/busybox; grep Cap /proc/self/status >/caps
RUN --network=none rm /tmp/x; ls /dev >/dev-seen; ls /sys/class/net >/links
USER 7:8
RUN id >/tmp/id; echo out >/dev/stdout
D
own=$(mine $name sandbox)
same 'one image through crun, too' "$own" "$(mine $name crun)"
same 'which is that of root' "$own" "$("$tbuild" --executor crun --store "$work/crun" --progress quiet build "$home/app")"
user $plain <<'D'
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox id -u >/id"]
D
sed -i "/^$plain:/d" /etc/subuid /etc/subgid
own=$(mine $plain sandbox)
same 'and one with one id alone' "$own" "$(mine $plain crun)"

# --- failures --------------------------------------------------------------------------------------------------
try() { printf 'FROM debian:bookworm\n%s\n' "$1" >"$work/app/Dockerfile"; shift; "$tbuild" --executor $executor --store "$work/$executor" --progress plain -C "$work/app" build . "$@"; }
for executor in crun docker; do
    exits "$executor: a failing step is exit 1" 1 try 'RUN exit 9'
    holds 'which is told' "$output" 'exit status 9'
    exits 'a status is no signal' 1 try 'RUN exit 137'
    holds 'and not called one' "$output" 'exit status 137'
    exits 'a signal is a signal' 1 try 'RUN kill -9 $$'
    holds 'and called one' "$output" 'signal 9'
    exits 'a program that is not there is exit 1' 1 try 'RUN ["no-such-program"]'
    holds 'by its name' "$output" 'no-such-program'
    exits 'a program without its interpreter too' 1 try 'RUN printf "#!/no/such/shell\n" >/x && chmod 755 /x
RUN ["/x"]'
    exits 'a limit holds' 1 try 'RUN head -c 300M /dev/zero | tail -c 300M >/dev/null' --memory 64m
    holds 'and is named' "$output" 'out of memory'
    exits 'and so does a time-out' 1 try 'RUN sleep 99871' --timeout 1s
    same 'after which nothing runs on' '' "$(pgrep -f '^sleep 99871' || true)"
    exits 'what is allowed more may do more' 0 try 'RUN --security=insecure mount -t tmpfs none /mnt' --allow security.insecure
    exits 'doctor looks at the chosen one' 0 "$tbuild" --executor $executor --store "$work/$executor" doctor
    holds 'and has run a step with it' "$output" "steps: $executor: a step ran"
done
same 'no failure leaves a container' '' "$("$docker" ps --all --quiet)"
exits 'a crun that is not there is exit 3' 3 env PATH=/nowhere "$tbuild" --executor crun --store "$work/crun" -C "$work/app" build .
holds 'with a hint' "$output" 'install crun'
exits 'a docker engine that is not there is exit 3' 3 env DOCKER_HOST=unix:///nowhere/docker.sock "$tbuild" --executor docker --store "$work/docker" build "$work/app"
holds 'with a hint' "$output" 'start the docker engine'
exits 'one elsewhere is refused' 2 env DOCKER_HOST=tcp://example.com:2375 "$tbuild" --executor docker --store "$work/docker" build "$work/app"
holds 'by its address' "$output" 'tcp://example.com:2375'
exits 'verify refuses to vary what it cannot' 2 "$tbuild" --executor docker --store "$work/docker" verify --build "$work/app"
holds 'and names it' "$output" 'processors and uptime'
exits 'an ordinary user is refused' 3 env -C "$home" HOME="$home" setpriv --reuid $plain --regid $plain --init-groups -- \
    ./tbuild --executor docker --store "$home/docker" build app
holds 'who is told what to do' "$output" 'run it as root'
exits 'other executors are refused by name' 2 "$tbuild" --executor podman --store "$work/crun" build "$work/app"
exits 'doctor says that crun is not there' 3 env PATH=/nowhere "$tbuild" --executor crun --store "$work/crun" doctor
holds 'by its name' "$output" 'there is no crun in PATH'
exits 'or that no engine is' 3 env DOCKER_HOST=unix:///nowhere/docker.sock "$tbuild" --executor docker --store "$work/crun" doctor
done_testing
