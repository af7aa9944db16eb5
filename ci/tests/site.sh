#!/usr/bin/env bash
# The whole site on a real Kubernetes, as its users meet it: every component up, a log-in, an upload and its transcode in
# a browser, then every pod restarted under requests. Needs root; TBUILD names the program, TBUILD_STORE its store.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
export TBUILD_STORE=${TBUILD_STORE:?its store}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-site.XXXXXX")
out=$root/ci/out; mkdir -p "$out"
site=http://10.210.0.11:30080
t() { "$tbuild" -C "$root" --progress plain --profile demo "$@"; }
finish() {
    code=$?
    [ $code = 0 ] || { t status >&2 || true; t logs transcode-worker 2>/dev/null | tail -20 >&2 || true; }
    t node down >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
get() { curl -fsS --noproxy '*' --max-time 20 "$@"; }
status() { curl -sS --noproxy '*' --max-time 20 -o /dev/null -w '%{http_code}' "$@"; }
manage() { t shell gunicorn -- "$@" 2>/dev/null | tr -d '\r'; }
# The answer of the REST API for one medium, until it holds a text.
until_holds() {
    for _ in $(seq 60); do
        case $(get "${@:2}") in *"$1"*) return 0 ;; esac
        sleep 0.5
    done
    fail "'$1' never came: $(get "${@:2}")"
}

# Two of each that users meet, and patience as the chart has it by default.
cat >"$work/values.yaml" <<'YAML'
preStopSeconds: 5
terminationSeconds: 30
gunicorn: { replicas: 2, readinessPath: /accounts/login/ }
nginx: { replicas: 2 }
ui: { replicas: 2 }
YAML
values="[\"charts/tator/values-demo.yaml\", \"$work/values.yaml\"]"
ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=duration=2:size=321x181:rate=25 -c:v mpeg4 "$work/dive.avi"

# --- up ------------------------------------------------------------------------------------------------------
t node down >/dev/null 2>&1 || true
t node up >"$out/site-node.log" 2>&1 || { tail -60 "$out/site-node.log" >&2; fail 'the node does not come up'; }
t cluster --set "release.tator.values=$values" >"$out/site-cluster.log" 2>&1 || { tail -80 "$out/site-cluster.log" >&2; fail 'tbuild cluster fails'; }
ok 'the whole site is up'
kubeconfig=$(t node status 2>/dev/null | sed -n 's/^kubeconfig: //p')
[ -s "$kubeconfig" ] || fail 'the node names no kubeconfig'
for _ in $(seq 50); do get "$site/projects" >/dev/null 2>&1 && break; sleep 0.2; done
holds 'the user interface serves its page' "$(get "$site/projects")" 'id="projects"'
holds 'and the front page, which is the site'"'"'s' "$(get "$site/")" 'Moss Landing'
same 'uploads are for who is logged in' 302 "$(status "$site/uploads/")"
same 'and so are files of the volume' 403 "$(status "$site/media/none")"
same 'and links into the object store' 403 "$(status "$site/rest/UploadInfo/1")"
same 'the object store shows nothing by itself' 403 "$(status "$site/objects/tator/")"

# --- a user --------------------------------------------------------------------------------------------------
manage env DJANGO_SUPERUSER_PASSWORD=correct-horse python3 manage.py createsuperuser --noinput \
    --username diver --email diver@example.com >/dev/null || fail 'no superuser can be made'
read -r media cookie < <("$here/browser.py" "$site" diver correct-horse "$work/dive.avi" "$out") || fail 'the browser gives up'
[ -n "$cookie" ] || fail 'the browser gives up'
ok "a browser logs in, uploads a video, and plays its transcode (medium $media)"
same 'with that session, files of the volume are looked for' 404 "$(status -b "$cookie" "$site/media/none")"

get -L -b "$cookie" -o "$work/result.mp4" "$site/uploads/$media/video"
same 'the transcode is H.264, of even size and as long' 'h264,320,180,50' \
    "$(ffprobe -v error -select_streams v:0 -count_packets -show_entries stream=codec_name,width,height,nb_read_packets -of csv=p=0 "$work/result.mp4")"
get -L -b "$cookie" -o "$work/thumbnail.png" "$site/uploads/$media/thumbnail"
holds 'the thumbnail is a picture' "$(file -b "$work/thumbnail.png")" 'PNG image data, 256 x 144'
until_holds '"thumbnail_width": 256' -b "$cookie" "$site/rest/Media/$media"
ok 'the worker of images has measured it'
until_holds '"media_count": 5' "$site/rest/Projects"
ok 'the worker of the database has counted it'
for command in updateprojects prunemedia prunetemporaryfiles; do
    exits "the clock's $command runs" 0 t shell gunicorn -- python3 manage.py $command
done
same 'which took nothing that is wanted' 200 "$(status -L -b "$cookie" "$site/uploads/$media/video")"

# --- every pod, one at a time --------------------------------------------------------------------------------
# loaded NAME COMPONENT...: restarts pods of the components (all, without any) while pages are asked for, the counts in
# $work/NAME.
pages=(ui="$site/projects" nginx="$site/static/images/logo.svg" gunicorn="$site/accounts/login/")
loaded() {
    local name=$1; shift
    : >"$out/site-$name.log"
    coproc load { exec "$here/load.py" "$out/site-$name.log" "${pages[@]}" >"$work/$name"; }
    # Copies: bash forgets its own when the process ends.
    local pid=$load_PID input; exec {input}>&"${load[1]}"; eval "exec ${load[1]}>&-"
    "$here/pods.py" "$kubeconfig" tator "$@" >"$work/$name.pods" || { exec {input}>&-; fail "pods do not come back: $(cat "$work/$name.pods")"; }
    exec {input}>&-
    wait "$pid" || fail 'the requests ended badly'
    cat "$work/$name" >&2
}
lost() { awk -v name="$2" '$1 == name { print $3 }' "$work/$1"; }
pages+=(rest="$site/rest/Projects" front="$site/")
loaded web gunicorn nginx ui
same 'two pods each were restarted' 6 "$(wc -l <"$work/web.pods")"
for page in ui nginx gunicorn rest front; do same "while the web tier restarts, no request of $page is lost" 0 "$(lost web $page)"; done
loaded all
for component in db-worker gunicorn image-worker nginx objectstore pgbouncer postgis redis transcode transcode-worker ui; do
    holds "$component was restarted" "$(cat "$work/all.pods")" "$component"
done
for page in ui nginx gunicorn; do same "while every pod restarts, no request of $page is lost" 0 "$(lost all $page)"; done
same 'the video is still there' 200 "$(status -L -b "$cookie" "$site/uploads/$media/video")"
read -r media cookie < <("$here/browser.py" "$site" diver correct-horse "$work/dive.avi" "$out") && fail 'two media have one name'
cp "$work/dive.avi" "$work/second dive.avi"
read -r media cookie < <("$here/browser.py" "$site" diver correct-horse "$work/second dive.avi" "$out") || fail 'the browser gives up'
[ -n "$cookie" ] || fail 'no more video can be uploaded'
ok 'and another one can be uploaded'
done_testing
