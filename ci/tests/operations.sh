#!/usr/bin/env bash
# What is done to a site that runs, on a real Kubernetes: looked at, reset, backed up, wiped and restored, migrated well
# and badly, upgraded, killed in the middle, rolled back, edited. Requests are made all the while, and those that fail
# are counted. Needs root; TBUILD names the program, TBUILD_STORE its store.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
export TBUILD_STORE=${TBUILD_STORE:?its store}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-operations.XXXXXX")
out=$root/ci/out; mkdir -p "$out"
site=http://10.210.0.11:30080
source=$work/source
profiles=(--profile demo)
watcher= follower=
# Two, so that one can go; and none of what is looked at elsewhere.
two=()
for component in gunicorn nginx ui; do two+=(--set "release.tator.set.$component.replicas=2"); done
# A node that does everything at once is slow to hear that a pod goes.
two+=(--set release.tator.set.preStopSeconds=8 --set release.tator.set.terminationSeconds=30)
for component in transcode transcodeWorker dbWorker imageWorker; do two+=(--set "release.tator.set.$component.enabled=false"); done
t() { "$tbuild" -C "$root" --progress plain "$@"; }
all() { t "$@" "${profiles[@]}" "${two[@]}" --source "tator=$source"; }
cluster() { all cluster "$@"; }
finish() {
    code=$?
    touch "$work/stop"
    for child in $follower $watcher; do kill "$child" 2>/dev/null || true; done
    [ $code = 0 ] || t status "${profiles[@]}" >&2 || true
    t node down >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT
get() { curl -fsS --noproxy '*' --max-time 20 "$site$1"; }
sql() { t exec postgis "${profiles[@]}" -- psql -U django -d tator_online -At -c "$1" 2>/dev/null; }

# begin: requests are made from now on. unfailed WHAT: none of them failed.
begin() {
    rm -f "$work/stop" "$work"/requests.*
    local path
    for path in / /dives/ /rest/Medias/1 "$style"; do
        ( while [ ! -e "$work/stop" ]; do
            curl -s --noproxy '*' -o /dev/null -w "%{http_code} $path %{errormsg}\n" --max-time 10 "$site$path" || true
            sleep 0.03
        done >"$work/requests.${path//\//_}" ) &
    done
}
end() { touch "$work/stop"; sleep 0.3; cat "$work"/requests.* >"$work/requests"; }
unfailed() {
    end
    local all bad
    all=$(wc -l <"$work/requests"); bad=$(grep -vc '^200 ' "$work/requests" || true)
    [ "$all" -gt 20 ] || fail "$1: only $all requests were made"
    [ "$bad" = 0 ] || { grep -v '^200 ' "$work/requests" | sort | uniq -c >&2; fail "$1: $bad of $all requests failed"; }
    ok "$1: none of $all requests failed"
}
# shows TEXT, hides TEXT: the page does, or does not, within the moment that proxies take to hear of the new pods
shows() { for _ in $(seq 50); do case $(get /dives/) in *"$1"*) return 0 ;; esac; sleep 0.2; done; fail "the page does not show $1"; }
hides() { for _ in $(seq 50); do case $(get /dives/) in *"$1"*) ;; *) return 0 ;; esac; sleep 0.2; done; fail "the page still shows $1"; }
migration() { # NAME AFTER OPERATION
    printf 'from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = [("main", "%s")]\n    operations = [migrations.RunSQL(%s, migrations.RunSQL.noop)]\n' \
        "$2" "$3" >"$source/api/main/migrations/$1.py"
}

cp -r "$root/ci/fixtures/tator" "$source"
stamp=$(date +%s%N)
t node down >/dev/null 2>&1 || true
t node up >"$out/operations-node.log" 2>&1 || { tail -40 "$out/operations-node.log" >&2; fail 'the node does not come up'; }
cluster >"$out/operations.log" 2>&1 || { tail -60 "$out/operations.log" >&2; fail 'tbuild cluster fails'; }
for _ in $(seq 50); do get /dives/ >/dev/null 2>&1 && get / >/dev/null 2>&1 && break; sleep 0.2; done
style=$(get /dives/ | grep -oE '/static/[0-9a-f]{64}/[^"]+\.css' | head -1)
kubeconfig=$(t node status 2>/dev/null | sed -n 's/^kubeconfig: //p')
ok 'the site is up'

# --- looked at -----------------------------------------------------------------------------------------------
exits 'status ends well' 0 t status "${profiles[@]}" --wait 60
holds 'and says where the site is' "$output" "site: $site/"
holds 'and when tasks ran' "$output" 'task migrate'
exits 'nothing has drifted' 0 all status --drift
# What a hand on the cluster does, by its own API.
for part in certificate-authority-data client-certificate-data client-key-data; do
    sed -n "s/^ *$part: //p" "$kubeconfig" | base64 -d >"$work/$part"
done
api() {
    curl -fsS --noproxy '*' --cacert "$work/certificate-authority-data" --cert "$work/client-certificate-data" \
        --key "$work/client-key-data" "$(sed -n 's/^ *server: //p' "$kubeconfig")$1" "${@:2}"
}
scale() {
    api /apis/apps/v1/namespaces/tator/deployments/nginx -X PATCH -H 'Content-Type: application/merge-patch+json' \
        -d "{\"spec\": {\"replicas\": $1}}" >/dev/null
}
scale 3
exits 'a change by hand is drift' 1 all status --drift
holds 'and is named' "$output" 'Deployment nginx: spec.replicas is 3, was applied as 2'
scale 2
holds 'logs have the pod in front' "$(t logs gunicorn "${profiles[@]}" --since 10m --tail 5)" 'gunicorn-'
holds 'logs of all components' "$(t logs "${profiles[@]}" --tail 3)" 'postgis-0 '
same 'exec hands over its exit code' 7 "$(t exec gunicorn "${profiles[@]}" -- sh -c 'exit 7' >/dev/null 2>&1 || echo $?)"
same 'and standard input' 'six words' "$(echo 'six words' | t exec gunicorn "${profiles[@]}" -i -- cat)"
same 'in every pod' 2 "$(t exec gunicorn "${profiles[@]}" --all -- hostname | sort -u | wc -l)"
pod=$(t exec gunicorn "${profiles[@]}" -- hostname)
holds 'why names the image of a pod' "$(all why "pod/$pod" 2>&1)" 'image:tator_online, as it was pushed last'
DJANGO_SUPERUSER_PASSWORD=correct-horse-$stamp exits 'a superuser is made' 0 \
    t superuser "${profiles[@]}" --username admin --email admin@example.com
same 'who is one' 't|admin@example.com' "$(sql "select is_superuser, email from auth_user where username = 'admin'")"
printf '%s\t%s\n' 'username: ' second 'email: ' second@example.com \
    'DJANGO_SUPERUSER_PASSWORD: ' "correct-horse-$stamp" 'DJANGO_SUPERUSER_PASSWORD (again): ' "correct-horse-$stamp" >"$work/answers"
exits 'asked on a terminal, another is made' 0 \
    python3 "$here/asked.py" "$tbuild" -C "$root" superuser "${profiles[@]}" <"$work/answers"
[ "${output/correct-horse/}" = "$output" ] || fail 'the password is shown'
same 'who is one, too' second@example.com "$(sql "select email from auth_user where username = 'second'")"
# Followed until they are ended.
"$tbuild" -C "$root" --progress plain logs --follow nginx "${profiles[@]}" --tail 1 >"$work/followed" 2>&1 & follower=$!
"$tbuild" -C "$root" --progress plain status --watch "${profiles[@]}" >"$work/watched" 2>&1 & watcher=$!
for _ in $(seq 100); do
    get "/healthz?seen=$stamp" >/dev/null || true
    grep -q "nginx-.*seen=$stamp" "$work/followed" && grep -q 'task migrate' "$work/watched" && break
    sleep 0.1
done
scale 3
for _ in $(seq 300); do grep -qE 'nginx .* 3/3 ready' "$work/watched" && break; sleep 0.1; done
scale 2
kill $follower $watcher; wait $follower $watcher 2>/dev/null || true
holds 'logs are followed' "$(cat "$work/followed")" "seen=$stamp"
holds 'status is watched: a pod that comes is seen' "$(grep -oE 'nginx .*' "$work/watched")" ' 3/3 ready'

# --- under their old names -----------------------------------------------------------------------------------
exits 'postgis-logs' 0 t postgis-logs "${profiles[@]}"
holds 'postgis-bash' "$(echo 'echo $((6 * 7))' | t postgis-bash "${profiles[@]}" 2>&1)" 42
holds 'psql-shell' "$(echo 'select 6 * 7' | t psql-shell "${profiles[@]}" 2>&1)" 42
holds 'django-shell' "$(echo 'print(6 * 7)' | t django-shell "${profiles[@]}" 2>&1)" 42
holds 'rq-info' "$(t rq-info "${profiles[@]}" 2>&1)" queues
exits 'rq-empty' 0 t rq-empty "${profiles[@]}"
exits 'cache-clear' 0 t cache-clear "${profiles[@]}"
holds 'dump-logs' "$(t dump-logs "${profiles[@]}" 2>&1)" 'nginx-'
exits 'check-migration' 0 t check-migration "${profiles[@]}"

# --- reset ---------------------------------------------------------------------------------------------------
begin
exits 'gunicorn and nginx are reset' 0 t reset gunicorn nginx "${profiles[@]}"
unfailed 'during a reset'
differ 'the pods are others' "$pod" "$(t exec gunicorn "${profiles[@]}" -- hostname)"

# --- backup, wipe, restore -----------------------------------------------------------------------------------
state() {
    sql "select md5(string_agg(t::text, ',' order by t::text)) from (select * from main_localization) t"
    sql "select md5(string_agg(t::text, ',' order by t::text)) from (select * from main_media) t"
    sql 'select count(*) from auth_user'
    t exec gunicorn "${profiles[@]}" -- sh -c 'cd /media && find . -type f -exec sha256sum {} + | sort'
}
t exec gunicorn "${profiles[@]}" -- sh -c 'mkdir -p /media/1 && head -c 300000 /dev/urandom >/media/1/clip.mp4 && echo note >/media/note.txt'
state >"$work/state"
exits 'a backup' 0 all backup
name=$(printf '%s' "$output" | grep -oE 'backup [0-9T-]+Z$' | tail -1 | cut -d' ' -f2)
[ -n "$name" ] || fail "the backup has no name: $output"
holds 'is listed' "$(t backup --list "${profiles[@]}")" "$name"
t exec gunicorn "${profiles[@]}" -- sh -c 'rm -rf /media/*; echo other >/media/other.txt'
sql 'drop table main_localization, main_media cascade; delete from auth_user' >/dev/null
differ 'the site is wiped' "$(cat "$work/state")" "$(state)"
exits 'it asks before it restores' 2 all restore "$name" </dev/null
exits 'restored' 0 all restore "$name" --yes
same 'the same rows and files are there' "$(cat "$work/state")" "$(state)"
[ -n "$(get /dives/)" ] || fail 'the site is down'
ok 'and served'
exits 'what was there before is discarded when asked' 0 all restore --discard --yes
holds 'a restored database is migrated again' "$(cluster 2>&1)" 'task:migrate | >'
exits 'a backup that is not there is refused' 1 all restore 2001-01-01T00-00-00Z --yes

# --- upgrades ------------------------------------------------------------------------------------------------
migration 0006_extra 0005_uploads '["CREATE TABLE main_extra (note text)", "INSERT INTO main_extra VALUES ('"'kept'"')"]'
begin
exits 'an upgrade with a migration' 0 cluster
unfailed 'during an upgrade with a migration'
same 'it is applied' kept "$(sql 'select note from main_extra')"
holds 'a backup was taken before' "$(t backup --list "${profiles[@]}")" before-migration

migration 0007_less 0006_extra '"DROP TABLE main_extra"'
begin
exits 'a migration that loses data stops' 1 cluster
unfailed 'while a migration is refused'
holds 'its SQL is shown' "$output" 'DROP TABLE main_extra'
holds 'and what would help' "$output" '--allow-data-loss'
same 'nothing is lost' kept "$(sql 'select note from main_extra')"
begin
exits 'allowed, it is applied' 0 cluster --allow-data-loss --no-backup
unfailed 'during that upgrade'
same 'the table is gone' '' "$(sql 'select note from main_extra')"
output=$(cluster --why 2>&1); [ "$(ran "$output")" = 0 ] || printf '%s\n' "$output" >&2
same 'said once, it is not said again' 0 "$(ran "$output")"

migration 0008_wrong 0007_less '"SELECT 1 / 0"'
begin
exits 'a migration that fails' 1 cluster
unfailed 'while a migration fails'
holds 'says why' "$output" 'division by zero'
rm "$source/api/main/migrations/0008_wrong.py"

cp "$source/api/tator_online/wsgi.py" "$work/wsgi.py"
printf 'raise RuntimeError("broken on purpose")\n' >"$source/api/tator_online/wsgi.py"
begin
exits 'an image that fails' 1 cluster
unfailed 'while an image fails'
cp "$work/wsgi.py" "$source/api/tator_online/wsgi.py"

page=$source/api/main/templates/main/index.html
sed -i "s|Seen <span|edited-$stamp Seen <span|" "$page"
begin
killed_at 'release:tator \| rollout' "$work/killed.log" "$tbuild" -C "$root" --progress plain cluster "${profiles[@]}" "${two[@]}" --source "tator=$source"
exits 'after a tbuild that was killed the next one ends well' 0 cluster
unfailed 'while one is killed and the next goes on'
shows "edited-$stamp"
ok 'the edit is served'

# --- rollback ------------------------------------------------------------------------------------------------
begin
exits 'a rollback' 0 all rollback --yes
unfailed 'during a rollback'
hides "edited-$stamp"
ok 'the page before the edit is served'
exits 'a revision that is not there' 1 all rollback --to 999 --yes

# --- dev-push ------------------------------------------------------------------------------------------------
exits 'without the profile dev there is nowhere to push to' 1 all dev-push
holds 'which is said' "$output" dev.enabled
profiles+=(--profile dev)
exits 'with it, the site is deployed' 0 cluster
views=$source/api/main/views.py
sheet=$(find "$source/ui/src/css" -name '*.scss' | sort | tail -1)
answer() { sed -i "s|^    return HttpResponse(.*, content_type=\"text/plain\")|    return HttpResponse($1, content_type=\"text/plain\")|" "$views"; }
style_now() { get "$(get /dives/ | grep -oE '/static/[0-9a-f]{64}/[^"]+\.css' | head -1)"; }
answers() { [ "$(get /healthz)" = "$1" ]; }
styled() { case $(style_now) in *"$1"*) ;; *) return 1 ;; esac; }
# soon COMMAND...: it holds within seconds; how long that took since `began`
soon() {
    for _ in $(seq 400); do "$@" 2>/dev/null && break; sleep 0.02; done
    printf 'served after %s ms\n' "$((($(date +%s%N) - began) / 1000000))"
    "$@" || fail "not served: $*"
}
exits 'what the image has not is pushed, and published' 0 all dev-push
pods=$(t exec gunicorn "${profiles[@]}" --all -- hostname | sort; t exec nginx "${profiles[@]}" --all -- hostname | sort)
style=$(get /dives/ | grep -oE '/static/[0-9a-f]{64}/[^"]+\.css' | head -1)
begin
for word in one two; do
    answer "\"$word-$stamp\\\\n\""
    began=$(date +%s%N)
    exits "an edit is pushed ($word)" 0 all dev-push
    soon answers "$word-$stamp"
    ok 'and served'
    printf '\n.%s-%s { color: red; }\n' "$word" "$stamp" >>"$sheet"
    began=$(date +%s%N)
    exits "a style sheet is compiled and published ($word)" 0 all dev-push
    soon styled "$word-$stamp"
    ok 'and served'
    holds 'only what has changed is sent' "$output" 'static: 1 file written'
done
echo no_such_name >>"$views"
exits 'code that cannot be loaded is refused' 1 all dev-push gunicorn.code
holds 'with what is wrong' "$output" 'no_such_name'
answers "two-$stamp" || fail 'the code before it is not served any more'
sed -i '$d' "$views"
exits 'put right, it is taken' 0 all dev-push
unfailed 'while files are pushed'
same 'no pod was restarted' "$pods" "$(t exec gunicorn "${profiles[@]}" --all -- hostname | sort; t exec nginx "${profiles[@]}" --all -- hostname | sort)"
holds 'pushed again, nothing has changed' "$(all dev-push)" 'nothing has changed'
sed -i "/-$stamp {/d" "$sheet"
exits 'a deployment once the style sheet is as it was deployed last' 0 cluster
styled "-$stamp" && fail 'what was pushed is still served'
ok 'takes back what was pushed'

begin
"$tbuild" -C "$root" --progress plain dev-push --watch "${profiles[@]}" "${two[@]}" --source "tator=$source" >"$work/watch" 2>&1 &
watcher=$!
for _ in $(seq 300); do [ "$(grep -c 'nothing has changed\| written' "$work/watch")" -ge 3 ] && break; sleep 0.1; done
printf '\n.watched-%s { color: red; }\n' "$stamp" >>"$sheet"
began=$(date +%s%N); soon styled "watched-$stamp"
ok 'watched: a style sheet that is saved is served'
answer 'syntax error'
for _ in $(seq 300); do grep -q 'SyntaxError\|invalid syntax' "$work/watch" && break; sleep 0.1; done
holds 'watched: what is wrong is said' "$(cat "$work/watch")" 'invalid syntax'
answer "\"watched-$stamp\\\\n\""
began=$(date +%s%N); soon answers "watched-$stamp"
ok 'watched: and what is put right is served'
kill -INT "$watcher"
ended=0; wait "$watcher" || ended=$?
same 'watched: it ends well' 0 "$ended"
watcher=
unfailed 'while files are watched'

# --- gone ----------------------------------------------------------------------------------------------------
output=$(all clean --yes 2>&1)
holds 'clean keeps data' "$output" 'keeps release tator-data'
done_testing
