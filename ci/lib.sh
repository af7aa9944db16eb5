# Shared by the scripts of this folder: source it. Expects bash -eu.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# How long the script has been at it stands in front: minutes and seconds.
say() { printf '\033[1m== [%d:%02d] %s\033[0m\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*" >&2; }

# install_packages LIST...: the Debian packages named in the lists that are not there yet.
install_packages() {
    local missing=() name
    while read -r name _; do
        case $name in '' | '#'*) continue ;; esac
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done < <(cat "$@")
    [ ${#missing[@]} -eq 0 ] && return
    [ "$(id -u)" = 0 ] || { echo "these Debian packages are missing, and only root can install them: ${missing[*]}" >&2; exit 3; }
    say "install ${missing[*]}"
    # Daemons that packages bring are run by nobody here: tests start their own.
    local policy=/usr/sbin/policy-rc.d made=
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1; }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    [ -z "$made" ] || rm -f $policy
}

# cargo_ready: cargo and a linker are there.
cargo_ready() {
    command -v cargo >/dev/null || { echo "cargo is missing: install Rust with rustup" >&2; exit 3; }
    command -v cc >/dev/null || install_packages <(echo build-essential)
}

# build_tbuild: the release build; prints the program's path.
build_tbuild() {
    say "build tbuild"
    cargo build --release --locked --manifest-path "$root/Cargo.toml" -p tbuild-cli >&2
    echo "${CARGO_TARGET_DIR:-$root/target}/release/tbuild"
}
