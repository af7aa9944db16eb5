# What tbuild dev-push runs in a container: sh -c THIS sh NAME FOLDER COUNT ROOT... [RELOAD...]
#
# Says what is there, then takes archives: each is unpacked aside and moved into place file by file, so that whoever
# reads a file reads the old one or the new one. `head -c` may read ahead: nothing is sent before the answer.
umask 022
name=$1 keep=$2/.tbuild-dev count=$3
shift 3
# Nothing is written before there is something to put.
writable() { if [ -e "$1" ]; then [ -d "$1" ] && [ -w "$1" ]; else writable "$(dirname "$1")"; fi; }
writable "$keep" || keep=$1/.tbuild-dev
new=$keep/$name.new list=$keep/$name.list due=$keep/$name.due out=$keep/$name.out
[ ! -e "$due" ] || echo due
[ ! -e "$list" ] || sed 's/^/pushed /' "$list"
while [ "$count" -gt 0 ]; do
  find "$1" \( -name .tbuild-dev -o -name __pycache__ \) -prune -o -type f -exec sha256sum '{}' + 2>/dev/null
  find "$1" -name .tbuild-dev -prune -o -type l \
    -exec sh -c 'for link; do printf "link %s\n to %s\n" "$link" "$(readlink "$link")"; done' sh '{}' + 2>/dev/null
  shift
  count=$((count - 1))
done
echo end

place() (
  rm -rf "$new" && : >"$due" && mkdir -p "$new/files" && head -c "$1" | tar -C "$new" -xomf - && cd "$new/files" || exit 1
  xargs -0 rm -f -- <"$new/gone" || exit 1
  # A folder that is not there yet is moved whole.
  find . -type d -exec sh -c '[ ! -d "/$1" ] || exit 1; rm -f "/$1"; mv "$1" "/$1"' sh '{}' ';' -prune
  find . ! -type d -exec sh -c '
    for file; do
      [ ! -d "/$file" ] || [ -L "/$file" ] || rm -rf "/$file"
      mv -f "$file" "/$file" || exit 1
    done' sh '{}' + || exit 1
  mv -f "$new/list" "$list"
)

while read -r word size; do
  [ "$word" = put ] || exit 0
  mkdir -p "$keep" || exit 1
  { place "$size" && { [ $# = 0 ] || "$@" </dev/null; }; } >"$out" 2>&1
  status=$?
  while IFS= read -r line || [ -n "$line" ]; do printf 'said %s\n' "$line"; done <"$out"
  rm -rf "$new" "$out"
  [ $status != 0 ] || rm -f "$due"
  echo "done $status"
done
