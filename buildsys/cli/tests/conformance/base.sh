#!/bin/sh
# base.sh FOLDER: the files of the base of every case: Debian's static busybox and what a shell needs.
# What stands in FROM as `base` is this folder, so that no registry is needed and no listing depends on one.
set -eu
umask 022
mkdir -p "$1/bin" "$1/etc" "$1/dev" "$1/proc" "$1/sys" "$1/tmp" "$1/root"
chmod 1777 "$1/tmp"
chmod 700 "$1/root"
cp /bin/busybox "$1/bin/busybox"
chmod 755 "$1/bin/busybox"
ln -s busybox "$1/bin/sh"
ln -s busybox "$1/bin/env"
printf '%s\n' root:x:0:0:root:/root:/bin/sh web:x:33:34:web:/srv:/bin/sh >"$1/etc/passwd"
printf '%s\n' root:x:0: web:x:34: staff:x:50:web >"$1/etc/group"
