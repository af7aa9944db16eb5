#!/usr/bin/env bash
# The chart of Tator without a cluster: what it installs in each way that it is used, as helm renders it, as Kubernetes
# would take it, and as nginx' certificate is looked at. TBUILD names the program, TBUILD_STORE its store.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
. "$here/assert.sh"
tbuild=${TBUILD:?the program to test}
export TBUILD_STORE=${TBUILD_STORE:?its store}
work=$(mktemp -d "${TMPDIR:-/var/tmp}/tbuild-chart.XXXXXX")
trap 'rm -rf "$work"' EXIT
out=$root/ci/out; mkdir -p "$out"
export HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm
t() { "$tbuild" -C "$root" --progress plain "$@"; }
chart=$root/charts/tator

helm=$(t tool helm --path 2>"$out/chart-tools.log") || { tail -40 "$out/chart-tools.log" >&2; fail 'there is no helm'; }
kubeconform=$(t tool kubeconform --path 2>"$out/chart-tools.log") || { tail -40 "$out/chart-tools.log" >&2; fail 'there is no kubeconform'; }
t artifact openapi --output "$work/openapi" >"$out/chart-tools.log" 2>&1 || { tail -40 "$out/chart-tools.log" >&2; fail 'there is no OpenAPI document'; }

# --- the tests of the chart, with this helm ------------------------------------------------------------------
TBUILD_TEST_HELM=$helm cargo test --locked --manifest-path "$root/Cargo.toml" -p tbuild-helm --no-fail-fast \
    --test tator_chart --test tutorial_values --test values_doc --test golden \
    >"$out/chart-test.log" 2>&1 || { tail -60 "$out/chart-test.log" >&2; fail 'the chart is not what its tests want'; }
ok 'the chart passes its tests'

# --- as Kubernetes would take it -----------------------------------------------------------------------------
"$root/ci/openapi-schemas" "$work/openapi/swagger.json" "$work/schemas" >"$work/count"
holds 'Kubernetes has kinds' "$(cat "$work/count")" ' kinds'
# What is MetalLB's, Kubernetes does not know.
conform() { "$kubeconform" -strict -summary -schema-location "$work/schemas/{{.ResourceKind}}{{.KindSuffix}}.json" -skip IPAddressPool,L2Advertisement; }
digest=$(printf 'a1%.0s' $(seq 32))
{
    echo images:
    sed -n '/^images:/,/^[^ ]/s/^  \([a-z_]*\): ""$/\1/p' "$chart/values.yaml" |
        while read -r image; do echo "  $image: localhost:5000/$image@sha256:$digest"; done
} >"$work/images.yaml"
render() { "$helm" template tator "$chart" --namespace tator --values "$work/images.yaml" "$@"; }
values() { case $1 in demo) echo "$chart/values-demo.yaml" ;; *) echo "$root/buildsys/helm/tests/golden/$1.values.yaml" ;; esac; }
for profile in single-node multi-node job-cluster demo; do
    exits "helm lint --strict: $profile" 0 "$helm" lint --strict "$chart" --values "$work/images.yaml" --values "$(values $profile)"
    render --values "$(values $profile)" >"$work/$profile.yaml"
    output=$(conform <"$work/$profile.yaml") || fail "kubeconform: $profile: $output"
    holds "kubeconform: $profile" "$output" 'Invalid: 0, Errors: 0'
done
for task in migrate collect-static backup restore; do
    render --values "$(values single-node)" --set "task=$task,taskKey=0123456789" --show-only "templates/tasks/$task.yaml" >"$work/task.yaml"
    output=$(conform <"$work/task.yaml") || fail "kubeconform: task $task: $output"
    holds "kubeconform: task $task" "$output" 'Valid: 1, Invalid: 0, Errors: 0'
done
# The example, as it is and once its first block is filled in.
example=(--values "$chart/values-single-node.yaml")
exits 'values-single-node.yaml is to be filled in' 1 render "${example[@]}"
holds 'which is said' "$output" "at '/domain'"
example+=(--set domain=192.0.2.7,loadBalancerIp=192.0.2.7,objectStore.secretKey=example-example-example,postgresPassword=example)
example+=(--set djangoSecretKey=example-example-example-example-example-example-example)
render "${example[@]}" >"$work/example.yaml" || fail 'values-single-node.yaml does not render'
output=$(conform <"$work/example.yaml") || fail "kubeconform: values-single-node.yaml: $output"
holds 'kubeconform: values-single-node.yaml' "$output" 'Invalid: 0, Errors: 0'
holds 'and the site answers at its address' "$(grep -A1 externalIPs "$work/example.yaml")" 192.0.2.7
sed 's/maxSurge:/maxSurgery:/' "$work/demo.yaml" >"$work/wrong.yaml"
if output=$(conform <"$work/wrong.yaml"); then fail 'kubeconform takes a field that there is not'; fi
holds 'kubeconform names a wrong field' "$output" maxSurgery

# --- certificates --------------------------------------------------------------------------------------------
# The script that the Job runs, on files made here.
certificate() { # NAME SUBJECT-ALT-NAME DAYS [SIGNER]
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" 2>/dev/null
    printf 'subjectAltName=%s\nbasicConstraints=CA:%s\n' "$2" "${5:-FALSE}" >"$work/$1.ext"
    if [ -n "${4:-}" ]; then set -- "$1" "$2" "$3" -CA "$work/$4.crt" -CAkey "$work/$4.key"; else set -- "$1" "$2" "$3" -signkey "$work/$1.key"; fi
    openssl x509 -req -in "$work/$1.csr" -days "$3" -extfile "$work/$1.ext" "${@:4}" -set_serial $RANDOM -out "$work/$1.crt" 2>/dev/null
}
certificate root DNS:root.example.com 3650 '' TRUE
certificate other DNS:other.example.com 3650 '' TRUE
certificate site DNS:tator.example.com,DNS:www.example.com 90 root
certificate soon DNS:tator.example.com,DNS:www.example.com 3 root
indented() { sed 's/^/    /' "$@"; }
tls() { # KEY CERT...: values
    printf 'domain: tator.example.com\naliasHosts: [www.example.com, "*"]\ntls:\n  key: |\n'
    indented "$1"; shift
    printf '  cert: |\n'; indented "$@"
}
# look DAYS KEY CERT...: what the check of the rendered Job says
look() {
    local days=$1; shift
    tls "$@" >"$work/tls.yaml"
    render --values "$(values single-node)" --values "$work/tls.yaml" --show-only templates/certificate.yaml >"$work/certificate.yaml"
    mkdir -p "$work/tls"; cp "$1" "$work/tls/tls.key"; cat "${@:2}" >"$work/tls/tls.crt"
    sed -n '/^ *- |$/,/^ *- check$/p' "$work/certificate.yaml" | awk '/- check$/ { exit } NR > 1' | sed "s|/etc/tator/tls|$work/tls|g; s|cd /tmp|cd $work/tls|" >"$work/check.sh"
    [ -s "$work/check.sh" ] || fail 'the Job has no script'
    rm -f "$work"/tls/part*
    sh -eu "$work/check.sh" "$days" tator.example.com www.example.com
}
exits 'a good certificate is well' 0 look 0 "$work/site.key" "$work/site.crt" "$work/root.crt"
holds 'and it is said' "$output" 'the certificate is well'
exits "another's key is refused" 1 look 0 "$work/root.key" "$work/site.crt"
holds 'and named' "$output" 'not the key of tls.cert'
exits 'a chain in disorder is refused' 1 look 0 "$work/site.key" "$work/site.crt" "$work/other.crt"
holds 'and named' "$output" 'not signed by the next one'
exits 'one that holds for another host is refused' 1 look 0 "$work/root.key" "$work/root.crt"
holds 'and named' "$output" 'does not hold for tator.example.com'
exits 'one that ends soon fails the daily check' 1 look 21 "$work/soon.key" "$work/soon.crt"
holds 'and named' "$output" 'less than 21 days'
exits 'but not the release' 0 look 0 "$work/soon.key" "$work/soon.crt"
tls "$work/site.crt" "$work/site.crt" >"$work/tls.yaml"
exits 'what is no key is refused before anything is installed' 1 render --values "$(values single-node)" --values "$work/tls.yaml"
holds 'by helm' "$output" buildCustomCert
done_testing
