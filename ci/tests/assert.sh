# Assertions for the scripts of this folder. A failure says what was expected and ends the script.

passed=0
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
ok() { passed=$((passed + 1)); printf 'ok %d - %s\n' "$passed" "$*"; }

# same WHAT EXPECTED ACTUAL
same() { [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"; ok "$1"; }
# differ WHAT ONE OTHER
differ() { [ "$2" != "$3" ] || fail "$1: both are '$2'"; ok "$1"; }
# the end of a long text, where commands say why they failed
tail_of() { if [ ${#1} -gt 1500 ]; then printf '[...]%s' "${1: -1500}"; else printf '%s' "$1"; fi; }
# holds WHAT TEXT PART: TEXT contains PART
holds() { case $2 in *"$3"*) ok "$1" ;; *) fail "$1: '$3' is not in: $(tail_of "$2")" ;; esac; }
# exits WHAT CODE COMMAND...: the command's output is in $output
exits() {
    local what=$1 code=$2 got=0
    shift 2
    output=$("$@" 2>&1) || got=$?
    [ "$got" = "$code" ] || fail "$what: expected exit $code, got $got: $(tail_of "$output")"
    ok "$what"
}
# ran OUTPUT: the number of nodes that ran, of a plain log's last line
ran() { printf '%s\n' "$1" | sed -nE 's/^[0-9]+ nodes: ([0-9]+) run.*/\1/p' | tail -1; }
# killed_at PATTERN LOG COMMAND...: starts the command with its output in LOG, and kills it up to half a second after
# PATTERN stands there. A command that ends before is killed too late, which is a moment like any other.
killed_at() {
    local pattern=$1 log=$2 child
    shift 2
    : >"$log"
    "$@" >"$log" 2>&1 & child=$!
    while kill -0 $child 2>/dev/null && ! grep -qE "$pattern" "$log"; do sleep 0.01; done
    sleep "0.$((RANDOM % 50 + 10))"
    kill -9 $child 2>/dev/null || true
    wait $child 2>/dev/null || true
    grep -qE "$pattern" "$log" || fail "'$pattern' was never said: $(tail -5 "$log")"
}
done_testing() { printf '%d passed, 0 failed\n' "$passed"; }
