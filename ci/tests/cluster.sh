#!/usr/bin/env bash
# The main job on a real Kubernetes: a node, the demo site, what an edit does, what a failure does. Asserted over
# HTTP and SQL, and by a browser. Needs root; TBUILD names the program, TBUILD_STORE its store.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
export TBUILD_STORE=${TBUILD_STORE:?its store}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-cluster.XXXXXX")
out=$root/ci/out; mkdir -p "$out"
site=http://10.210.0.11:30080
source=$work/source
t() { "$tbuild" -C "$root" --progress plain "$@"; }
cluster() { t cluster --profile demo --source "tator=$source" "$@"; }
finish() {
    code=$?
    [ $code = 0 ] || { t status --profile demo >&2 || true; }
    t node down >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
get() { curl -fsS --noproxy '*' --max-time 20 "$site$1"; }
sql() { t shell postgis --profile demo -- psql -U django -d tator_online -At -c "$1" 2>/dev/null | tr -d '\r'; }
machine() { ip -o link | awk -F': ' '{print $2}' | sort; ip route | sort; ip netns list | sort; cut -d' ' -f2 /proc/mounts | sort; find /sys/fs/cgroup -maxdepth 2 -type d | sort; }

cp -r "$root/ci/fixtures/tator" "$source"
# Edits that no store has seen, however often this runs on one.
stamp=$(date +%s%N)
t node down >/dev/null 2>&1 || true
machine >"$work/before"

# --- the node ------------------------------------------------------------------------------------------------
t node up 2>&1 | tee "$out/node-up.log" | grep -v '|' >&2 || { tail -60 "$out/node-up.log" >&2; fail 'the node does not come up'; }
ok 'a node comes up'
exits 'up twice is a no-op' 0 t node up
holds 'and says so' "$output" 'already up'

# --- the site ------------------------------------------------------------------------------------------------
cluster >"$out/cluster.log" 2>&1 || { tail -80 "$out/cluster.log" >&2; fail 'tbuild cluster fails'; }
ok 'tbuild cluster ends well'
# kube-proxy learns of a new Service's endpoints a moment after the pods are ready.
for _ in $(seq 50); do get / >/dev/null 2>&1 && break; sleep 0.2; done
page=$(get /)
set1=$(printf '%s' "$page" | grep -oE '/static/[0-9a-f]{64}/' | sort -u)
same 'the page names one set of static files' 1 "$(printf '%s\n' "$set1" | wc -l)"
for file in $(printf '%s' "$page" | grep -oE '/static/[0-9a-f]{64}/[^"]+\.(css|js)' | sort -u); do
    [ -n "$(get "$file")" ] || fail "$file is empty"
    ok "nginx serves ${file##*/}"
done
tables=$(sql "select count(*) from django_migrations")
[ "$tables" -gt 0 ] || fail 'no migration is applied'
ok "migrations are applied ($tables)"
holds 'PostGIS is in the database' "$(sql 'select postgis_version()')" 3.
chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --no-proxy-server --user-data-dir="$work/chromium" --enable-logging=stderr --v=0 \
    --window-size=1000,700 --virtual-time-budget=8000 --screenshot="$out/site.png" "$site/" >"$work/chromium.log" 2>&1 || fail 'chromium cannot load the page'
[ -s "$out/site.png" ] || fail 'there is no screenshot'
ok 'a browser loads the page'
if grep -E 'CONSOLE.*(error|Error|Uncaught|Failed)' "$work/chromium.log" >&2; then fail 'the browser reports an error'; fi
ok 'without a console error'

# nginx is an ordinary user: what the image holds has to be for it to read.
holds 'nginx can read its page of apology' "$(t shell nginx --profile demo -- cat /usr/share/tator/502.html 2>&1)" '</html>'

# --- again ---------------------------------------------------------------------------------------------------
output=$(cluster 2>&1); same 'run again, nothing runs' 0 "$(ran "$output")"
find "$source" -exec touch {} +
output=$(cluster 2>&1); same 'touched, nothing runs' 0 "$(ran "$output")"

# --- one CSS file --------------------------------------------------------------------------------------------
pods() { t status --profile demo --json 2>/dev/null | grep -oE '"gunicorn[a-z0-9-]*"' | sort -u | tr '\n' ' '; }
before=$(pods)
css=$(find "$source/ui/src/css" -name '*.scss' | sort | tail -1)
printf '\n.edited-%s { color: rebeccapurple; }\n' "$stamp" >>"$css"
holds 'why names the file, before' "$(t why artifact:css --profile demo --source "tator=$source" 2>&1)" "$(basename "$css")"
output=$(cluster 2>&1)
holds 'the style sheet is bundled again' "$output" 'artifact:css | >'
holds 'and published' "$output" 'task:collect-static | >'
case $output in *'release:tator | >'*|*'task:migrate | >'*|*'image:tator_online'*'| >'*) fail "a style sheet moved more than it should: $output" ;; esac
ok 'and nothing else'
same 'gunicorn was not restarted' "$before" "$(pods)"
set2=$(get / | grep -oE '/static/[0-9a-f]{64}/' | sort -u)
differ 'the page names the new set' "$set1" "$set2"
style=$(get / | grep -oE '/static/[0-9a-f]{64}/[^"]+\.css' | head -1)
holds 'which has the edit' "$(get "$style")" edited-$stamp
holds 'why names the file, after' "$(t why artifact:css --profile demo --source "tator=$source" 2>&1)" "$(basename "$css")"

# --- an app that cannot start --------------------------------------------------------------------------------
wsgi=$(find "$source" -name wsgi.py | head -1); cp "$wsgi" "$work/wsgi.py"
printf 'raise RuntimeError("broken on purpose")\n' >"$wsgi"
exits 'a broken app is exit 1' 1 cluster
holds 'its traceback is shown' "$output" 'broken on purpose'
[ -n "$(get /)" ] || fail 'the site is down'
ok 'the previous release serves on'
cp "$work/wsgi.py" "$wsgi"
exits 'mended, it deploys' 0 cluster
[ -n "$(get /)" ] || fail 'the site is down'
ok 'and serves'

# --- killed in the middle ------------------------------------------------------------------------------------
for round in 1 2 3; do
    for phase in 'step:tator_online.*> COPY' 'release:tator \| > helm' 'release:tator \| rollout'; do
        printf '\n# edited %s %s %s\n' $stamp $round "$phase" >>"$source/manage.py"
        killed_at "$phase" "$work/killed.log" "$tbuild" -C "$root" --progress plain cluster --profile demo --source "tator=$source"
        for _ in $(seq 20); do pgrep -f 'tools/[0-9a-f]+ upgrade' >/dev/null || break; sleep 0.1; done
        pgrep -f 'tools/[0-9a-f]+ upgrade' >/dev/null && fail 'helm outlives tbuild'
        exits "killed at '$phase' ($round), the next run ends well" 0 cluster
    done
done
[ -n "$(get /)" ] || fail 'the site is down'
ok 'the site serves'

# --- helm itself ---------------------------------------------------------------------------------------------
kubeconfig=$(t node status 2>/dev/null | sed -n 's/^kubeconfig: //p')
TBUILD_TEST_HELM=$(t tool helm --path 2>/dev/null) TBUILD_TEST_KUBECONFIG=$kubeconfig \
    cargo test --locked --manifest-path "$root/Cargo.toml" -p tbuild-helm --test helm_program \
    >"$out/helm-test.log" 2>&1 || { tail -60 "$out/helm-test.log" >&2; fail 'the wrapper of helm fails'; }
ok 'the wrapper of helm passes its tests with the helm of the graph'

# --- gone ----------------------------------------------------------------------------------------------------
exits 'the node goes' 0 t node down
for _ in $(seq 50); do machine >"$work/after"; cmp -s "$work/before" "$work/after" && break; sleep 0.2; done
diff "$work/before" "$work/after" >&2 || fail 'the node leaves something behind'
ok 'and leaves nothing behind'
done_testing
