#!/usr/bin/env bash
# RUN's flags as a user of docker build sees them: mounts, network, security, limits. Needs root, and no network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-run.XXXXXX")
store=$work/store
agent=
finish() {
    [ -z "$agent" ] || kill "$agent" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
mkdir -p "$work/ctx/src/sub"
cp "$(dpkg -L busybox-static | grep 'bin/busybox$')" "$work/ctx/busybox"
echo one >"$work/ctx/src/file"; echo sub >"$work/ctx/src/sub/file"; ln -s sub/file "$work/ctx/src/link"; echo top >"$work/ctx/top"

# b ARGUMENTS... builds base and the lines of standard input; files of the result land in $work/out.
b() {
    {
        printf 'FROM scratch AS base\nCOPY busybox /bin/busybox\n'
        printf 'RUN ["/bin/busybox","sh","-c","/bin/busybox --install -s /bin; mkdir /tmp /etc; echo root:x:0:0::/:/bin/sh >/etc/passwd"]\n'
        cat
    } >"$work/Dockerfile"
    rm -rf "$work/out"
    "$tbuild" --store "$store" --progress plain build "$work/ctx" -f "$work/Dockerfile" -o type=local,dest="$work/out" "$@" 2>&1
}
# left: what the result holds besides the base
left() { (cd "$work/out" && find . -mindepth 1 ! -path './bin*' ! -path ./tmp ! -path ./etc ! -path ./etc/passwd | sort | tr '\n' ' '); }
# builds WHAT LINES ARGUMENTS...: the output is in $output
builds() {
    local what=$1 lines=$2
    shift 2
    output=$(printf '%b\n' "$lines" | b "$@") || fail "$what: $output"
    ok "$what"
}
# refused WHAT CODE LINES ARGUMENTS...
refused() {
    local what=$1 code=$2 lines=$3 got=0
    shift 3
    output=$(printf '%b\n' "$lines" | b "$@") || got=$?
    [ "$got" = "$code" ] || fail "$what: expected exit $code, got $got: $output"
    ok "$what"
}

# --- bind ----------------------------------------------------------------------------------------------------
builds 'a folder of the context is mounted' 'FROM base\nRUN --mount=source=src,target=/m/deep cat /m/deep/file /m/deep/link >/seen; touch /m/deep/x || echo sealed >>/seen; stat -c "%u:%g %Y" /m/deep/file >>/seen'
same 'with its files, read-only, as nobody on this machine owns them' 'one sub sealed 0:0 315532800 ' "$(tr '\n' ' ' <"$work/out/seen")"
same 'and the mount point is gone' './seen ' "$(left)"
builds 'the same again' 'FROM base\nRUN --mount=source=src,target=/m/deep cat /m/deep/file /m/deep/link >/seen; touch /m/deep/x || echo sealed >>/seen; stat -c "%u:%g %Y" /m/deep/file >>/seen'
same 'runs nothing' 0 "$(ran "$output")"
lines='FROM base\nRUN --mount=source=src,target=/m cat /m/sub/file >/seen'
builds 'a mount' "$lines"
echo other >"$work/ctx/src/sub/file"
builds 'whose content changes' "$lines"
same 'runs its step again' 1 "$(ran "$output")"
same 'with the new content' other "$(cat "$work/out/seen")"
echo sub >"$work/ctx/src/sub/file"; echo more >"$work/ctx/other"
builds 'a file beside it' "$lines"
same 'changes nothing' 0 "$(ran "$output")"
stage='FROM base AS made\nRUN mkdir -p /o/p; echo VALUE >/o/p/q; ln -s p /o/l; echo OTHER >/other; chown -R 5:6 /o\nFROM base\nRUN --mount=from=made,source=/o/l,target=/m cat /m/q >/seen; stat -c %u:%g /m/q >>/seen'
builds 'a part of a stage is mounted, links followed' "${stage/VALUE/one}"
same 'as the stage left it' 'one 5:6 ' "$(tr '\n' ' ' <"$work/out/seen")"
builds 'a stage that changed' "${stage/VALUE/two}"
same 'is seen as it is now' 'two 5:6 ' "$(tr '\n' ' ' <"$work/out/seen")"
other=${stage/OTHER/elsewhere}
builds 'a stage that changed elsewhere' "${other/VALUE/two}"
same 'runs the stage alone' 1 "$(ran "$output")"
builds 'what is written to a mount' 'FROM base AS made\nRUN echo kept >/file\nFROM base\nRUN --mount=from=made,target=/m,rw --mount=source=top,target=/f,rw echo new >>/m/file; echo x >/m/x; echo y >>/f; cat /m/file /m/x /f >/seen\nRUN --mount=from=made,target=/m cat /m/file >>/seen; ls /m/x || echo gone >>/seen'
same 'is seen by the step and discarded' 'kept new x top y kept gone ' "$(tr '\n' ' ' <"$work/out/seen")"
mkdir -p "$work/named"; echo named >"$work/named/file"
builds 'a named context is mounted' 'FROM base\nRUN --mount=from=named,target=/m cat /m/file >/seen' --build-context named="$work/named"
same 'with its files' named "$(cat "$work/out/seen")"
builds 'nothing is mounted' 'FROM base\nRUN --mount=from=scratch,target=/m ls -A /m >/seen'
same 'as an empty folder' '' "$(cat "$work/out/seen")"
builds 'a relative target counts from WORKDIR, no target is WORKDIR' 'FROM base\nWORKDIR /w\nRUN --mount=source=src,target=rel cat /w/rel/file >/seen\nRUN --mount=type=bind cat /w/top >>/seen'
same 'as with BuildKit' 'one top ' "$(tr '\n' ' ' <"$work/out/seen")"
refused 'a source that is not there is exit 1' 1 'FROM base\nRUN --mount=source=nosuch,target=/m true'
holds 'and named' "$output" '/nosuch: not found in the build context'
refused 'a wrong option is exit 2' 2 'FROM base\nRUN --mount=type=bnd,target=/m true'
holds 'with its place' "$output" 'Dockerfile:5'
holds 'and a suggestion' "$output" 'did you mean bind?'
builds 'what a step leaves below a mount point stays, and nothing else' 'FROM base\nRUN --mount=type=tmpfs,target=/z/y --mount=type=tmpfs,target=/gone/a echo hi >/z/kept; echo no >/z/y/no'
same 'as with BuildKit' './z ./z/kept ' "$(left)"
builds 'the order is by target' 'FROM base\nRUN --mount=source=src,target=/a/b --mount=type=tmpfs,target=/a cat /a/b/file >/seen'

# --- tmpfs and cache -----------------------------------------------------------------------------------------
builds 'memory is limited' 'FROM base\nARG S=64k\nRUN --mount=type=tmpfs,target=/t,size=$S head -c 100000 /dev/zero >/t/x || echo full >/seen'
same 'to its size, which a variable may say' full "$(cat "$work/out/seen")"
cache='FROM base\nRUN --mount=type=cache,target=/c,id=ID echo WHAT >>/c/log; cat /c/log >/seen'
cache() { local lines=${cache/ID/$1}; builds "a cache is used ($1, $2)" "${lines/WHAT/$2}"; }
cache a 1; cache a 2
same 'what a step leaves in a cache is there for the next' '1 2 ' "$(tr '\n' ' ' <"$work/out/seen")"
same 'and in no layer' './seen ' "$(left)"
cache b 2; same 'the name of a cache is in no key, nor is its content' 0 "$(ran "$output")"
cache b 3; same 'but it names another cache' '3 ' "$(tr '\n' ' ' <"$work/out/seen")"
builds 'caches have owners, a seed, and may be read-only' 'FROM base AS seed\nRUN mkdir /s; echo seed >/s/file\nFROM base\nRUN --mount=type=cache,target=/c,uid=5,gid=6,mode=0750 --mount=type=cache,target=/d,from=seed,source=/s --mount=type=cache,target=/e,readonly stat -c "%u:%g %a" /c >/seen; cat /d/file >>/seen; echo more >>/d/file; touch /e/x || echo sealed >>/seen\nRUN --mount=type=cache,target=/d,from=seed,source=/s cat /d/file >>/seen'
same 'as with BuildKit' '5:6 750 seed sealed seed more ' "$(tr '\n' ' ' <"$work/out/seen")"
# Two stages at once: who has a locked cache has it alone.
two='FROM base AS a\nRUN --mount=type=cache,target=/c,sharing=SHARING [ -e /c/busy ] && echo taken >/a || true; touch /c/busy; sleep 1; rm /c/busy; touch /a\nFROM base AS b\nRUN --mount=type=cache,target=/c,sharing=SHARING [ -e /c/busy ] && echo taken >/b || true; touch /c/busy; sleep 1; rm -f /c/busy; touch /b\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /'
for sharing in locked private; do
    builds "two steps want one cache ($sharing)" "${two//SHARING/$sharing}" -j2
    same 'and each has one alone' '' "$(cat "$work/out/a" "$work/out/b")"
done

# --- secrets and agents --------------------------------------------------------------------------------------
printf 'pa55-w0rd-of-file\n' >"$work/secret"
export VARIABLE=pa55-w0rd-of-env
lines='FROM base\nRUN --mount=type=secret,id=f --mount=type=secret,id=f,target=/x/y,uid=5,gid=6,mode=0440 --mount=type=secret,id=e,env=E --mount=type=secret,id=none,env=N --mount=type=secret,id=none,target=/none sha256sum </run/secrets/f >/seen; cat /run/secrets/f; echo "is $E"; stat -c "%u:%g %a" /run/secrets/f /x/y >>/seen; echo "${#E} ${N-unset}" >>/seen; [ ! -e /none ]'
builds 'secrets are given' "$lines" --secret id=f,src="$work/secret" --secret id=e,env=VARIABLE
same 'as files and variables' "$(sha256sum <"$work/secret" | tr '\n' ' ')0:0 400 5:6 440 16  " "$(tr '\n' ' ' <"$work/out/seen")"
same 'in no layer' './seen ' "$(left)"
case $output in *pa55-w0rd*) fail 'a secret is on the screen' ;; esac
holds 'and masked on the screen' "$output" 'is ***'
if grep -rqs pa55-w0rd "$store"; then fail "a secret is in the store: $(grep -rls pa55-w0rd "$store")"; fi
ok 'and nowhere in the store'
echo other >"$work/secret"
builds 'another value' "$lines" --secret id=f,src="$work/secret" --secret id=e,env=VARIABLE
same 'runs nothing: no key holds it' 0 "$(ran "$output")"
refused 'a required secret that is not given is exit 2' 2 'FROM base\nRUN --mount=type=secret,id=nope,required true'
holds 'and named' "$output" 'the secret nope is not given'
agent=$(ssh-agent -a "$work/agent" | sed -n 's/.*SSH_AGENT_PID=\([0-9]*\);.*/\1/p')
ssh-keygen -q -t ed25519 -N '' -C test -f "$work/key"
SSH_AUTH_SOCK=$work/agent ssh-add -q "$work/key"
# The agent protocol by hand: a request for the keys (11) is answered with 12 and their number.
cat >"$work/ask.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    unsigned char answer[9];
    const char *path = getenv("SSH_AUTH_SOCK");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!path) { puts("no agent"); return 1; }
    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) { perror(path); return 1; }
    if (write(fd, "\0\0\0\1\13", 5) != 5) return 1;
    for (size_t got = 0; got < sizeof answer;) {
        ssize_t n = read(fd, answer + got, sizeof answer - got);
        if (n <= 0) { puts("closed"); return 1; }
        got += n;
    }
    printf("%s: %d keys\n", path, answer[8]);
    return 0;
}
C
cc -static -Os -o "$work/ctx/ask" "$work/ask.c"
builds 'an agent is passed on' 'FROM base\nRUN --mount=type=ssh --mount=type=ssh,id=other,target=/x/agent,uid=5,gid=6,mode=0666 --mount=source=ask,target=/ask /ask >/seen; SSH_AUTH_SOCK=/x/agent /ask >>/seen; stat -c "%u:%g %a" /run/buildkit/ssh_agent.0 /x/agent >>/seen' --ssh default="$work/agent" --ssh other="$work/agent"
same 'to sockets of its own' '/run/buildkit/ssh_agent.0: 1 keys /x/agent: 1 keys 0:0 600 5:6 666 ' "$(tr '\n' ' ' <"$work/out/seen")"
same 'which are gone' './seen ' "$(left)"
refused 'a required agent that is not given is exit 2' 2 'FROM base\nRUN --mount=type=ssh,required true'
holds 'and named' "$output" 'the SSH agent default is not given'

# --- network, security, hosts --------------------------------------------------------------------------------
builds 'no network' 'FROM base\nRUN --network=none ls /sys/class/net >/seen; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo up >>/seen'
same 'is loopback, and it is up' 'lo up ' "$(tr '\n' ' ' <"$work/out/seen")"
lines='FROM base\nRUN ls /sys/class/net >/seen'
builds 'the network of the build' "$lines" --network none
same 'is that of a RUN that says none' lo "$(cat "$work/out/seen")"
builds 'another network' "$lines"
same 'runs the step again' 1 "$(ran "$output")"
refused 'a network that is none is exit 2' 2 'FROM base\nRUN --network=nowhere true'
lines='FROM base\nRUN --security=insecure mount -t tmpfs none /tmp && grep CapEff /proc/self/status >/seen'
refused 'all rights are not given' 2 "$lines"
holds 'unless allowed' "$output" '--allow security.insecure'
builds 'all rights are given where allowed' "$lines" --allow security.insecure
same 'those of the builder' "$(grep CapEff /proc/self/status)" "$(cat "$work/out/seen")"
refused 'and to nobody else' 1 'FROM base\nRUN mount -t tmpfs none /tmp' --allow security.insecure
builds 'hosts, /dev/shm and ulimits' 'FROM base\nRUN grep -c "10.1.2.3\ta.test" /etc/hosts >/seen; ulimit -n >>/seen; head -c 100000 /dev/zero >/dev/shm/x || echo full >>/seen' --add-host a.test:10.1.2.3 --shm-size 64k --ulimit nofile=100:200
same 'are as asked' '1 100 full ' "$(tr '\n' ' ' <"$work/out/seen")"

# --- limits --------------------------------------------------------------------------------------------------
lines='FROM base\nRUN x=$(head -c 100000000 /dev/zero | tr "\\\\000" x); echo ${#x} >/seen'
refused 'a step that wants more memory than it may is exit 1' 1 "$lines" --memory 32m
holds 'and is told so' "$output" 'out of memory'
builds 'with more it ends well' "$lines" --memory 2g --cpus 1.5 --pids-limit 100
builds 'limits are in no key' "$lines"
same 'so nothing runs' 0 "$(ran "$output")"
refused 'a step that starts more than it may is exit 1' 1 'FROM base\nRUN for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo started' --pids-limit 5
begun=$SECONDS
refused 'a step that takes too long is exit 1' 1 'FROM base\nRUN sleep 98763' --timeout 1s
holds 'and is told so' "$output" 'timed out after 1 s'
[ $((SECONDS - begun)) -lt 60 ] || fail 'the time-out did not end the step'
pgrep -f '^sleep 98763' >/dev/null && fail 'a process is left after a time-out'
ok 'and no process is left'
builds 'much output' 'FROM base\nRUN i=0; while [ $i -lt 60000 ]; do echo "line $i of the output of a step that prints very much"; i=$((i+1)); done'
holds 'is not all shown' "$output" 'the rest is not shown: tbuild log step:build/1/1'
same 'and is all in the log' 60000 "$("$tbuild" --store "$store" log step:build/1/1 | wc -l)"
refused 'a step that fails' 1 'FROM base\nRUN echo before; exit 3'
same 'has its log, too' before "$("$tbuild" --store "$store" log step:build/1/1)"
find /sys/fs/cgroup -maxdepth 4 -name 'tbuild-*-*' -type d 2>/dev/null | grep -q . && fail 'a cgroup is left'
ok 'nor a cgroup'
done_testing
