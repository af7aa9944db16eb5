# Writes a backup into $FOLDER: a folder named after the date, with the database as pg_dump's custom format, an archive
# of each folder of $FILES below $ROOT, and a manifest (SHA-256, bytes, name of each). It has its name once it is
# complete and was read back; the newest $KEEP of its kind stay.
#
# PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE. KIND: what follows the date in the name. OWNER: whose it is.
# ONLY_IF: a file; where it is empty there is nothing to be done.
set -eu
umask 027

if [ -n "${ONLY_IF:-}" ] && ! [ -s "$ONLY_IF" ]; then
  echo "nothing is to be applied: no backup is needed"
  exit 0
fi
name=$(date -u +%Y-%m-%dT%H-%M-%SZ)${KIND:+-$KIND}
partial=$FOLDER/.partial-$name
trap 'rm -rf "$partial"' EXIT
# What a backup that died has left.
find "$FOLDER" -maxdepth 1 -name '.partial-*' -mmin +720 -exec rm -rf '{}' +
mkdir "$partial"

pg_dump --no-password --format=custom --file="$partial/database.dump"
entries=$(pg_restore --list "$partial/database.dump" | grep -vc -e '^;' -e '^$' || true)
if [ "$entries" = 0 ]; then
  echo "backup: the dump of $PGDATABASE lists nothing" >&2
  exit 1
fi
# Every byte of it can be read back.
pg_restore --file=/dev/null "$partial/database.dump"
echo "database $PGDATABASE: $entries entries, $(stat -c %s "$partial/database.dump") bytes"

for folder in ${FILES:-}; do
  [ -d "$ROOT/$folder" ] || continue
  code=0
  tar -C "$ROOT" --numeric-owner --xattrs --xattrs-include="user.*" -cf "$partial/$folder.tar" "$folder" || code=$?
  # 1: a file was written to meanwhile.
  [ "$code" -le 1 ] || exit "$code"
  files=$(tar -tf "$partial/$folder.tar" | grep -vc '/$' || true)
  echo "files of $folder: $files, $(stat -c %s "$partial/$folder.tar") bytes"
done

(
  cd "$partial"
  for file in *; do
    printf '%s %s %s\n' "$(sha256sum <"$file" | cut -d' ' -f1)" "$(stat -c %s "$file")" "$file"
  done
) >"$partial/.manifest"
mv "$partial/.manifest" "$partial/manifest"
[ -z "${OWNER:-}" ] || chown -R "$OWNER" "$partial"
sync -f "$partial"
mv -T "$partial" "$FOLDER/$name"
echo "backup $name"

ls -1 "$FOLDER" | grep -xE "[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(-[0-9]{2}){2}Z${KIND:+-$KIND}" | sort -r | tail -n "+$((KEEP + 1))" |
  while read -r old; do
    rm -rf "${FOLDER:?}/$old"
    echo "removed the older backup $old"
  done
