# Restores the backup $NAME (`latest`: the newest) of $FOLDER. The database is restored beside the one that serves and
# takes its name in a moment; the one that served, and the files that were there, are kept under a dated name. With
# DISCARD what earlier restores have kept is removed instead.
#
# PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE; ROOT: where the folders are that the archives hold.
set -eu
sql() { psql --no-psqlrc --no-password --set=ON_ERROR_STOP=1 --quiet -At --dbname=postgres "$@"; }

if [ -n "${DISCARD:-}" ]; then
  sql --command="SELECT datname FROM pg_database WHERE starts_with(datname, '${PGDATABASE}_before_')" | while read -r kept; do
    dropdb --no-password --force --maintenance-db=postgres "$kept"
    echo "removed database $kept"
  done
  for kept in "$ROOT"/.before-*; do
    [ -d "$kept" ] || continue
    rm -rf "$kept"
    echo "removed files ${kept##*/}"
  done
  exit 0
fi

if [ "$NAME" = latest ]; then
  NAME=$(ls -1 "$FOLDER" | grep -E '^[0-9]{4}-' | sort | tail -1)
fi
backup=$FOLDER/$NAME
if [ -z "$NAME" ] || ! [ -f "$backup/manifest" ]; then
  echo "restore: there is no backup '$NAME'. There are:" >&2
  ls -1 "$FOLDER" >&2
  exit 1
fi
while read -r sum size file; do
  if [ "$(stat -c %s "$backup/$file")" != "$size" ] || [ "$(sha256sum <"$backup/$file" | cut -d' ' -f1)" != "$sum" ]; then
    echo "restore: $NAME/$file is not what the manifest says" >&2
    exit 1
  fi
done <"$backup/manifest"
echo "backup $NAME is what its manifest says"

stamp=$(date -u +%Y%m%d%H%M%S)
new=${PGDATABASE}_new_$stamp
old=${PGDATABASE}_before_$stamp
work=$ROOT/.restore-$stamp
closed=
clean() {
  code=$?
  [ -z "$closed" ] || sql --command="ALTER DATABASE \"$PGDATABASE\" WITH ALLOW_CONNECTIONS true" || true
  [ "$code" = 0 ] || dropdb --no-password --if-exists --force --maintenance-db=postgres "$new" || true
  rm -rf "$work"
}
trap clean EXIT

createdb --no-password --maintenance-db=postgres --template=template0 --encoding=UTF8 "$new"
pg_restore --no-password --exit-on-error --no-owner --no-privileges --jobs=2 --dbname="$new" "$backup/database.dump"
wanted=$(pg_restore --list "$backup/database.dump" | grep -c ' TABLE DATA ' || true)
there=$(psql --no-psqlrc --no-password -At --dbname="$new" --command="SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)'")
if [ "$there" -lt "$wanted" ]; then
  echo "restore: the dump has rows of $wanted tables, the database only $there tables" >&2
  exit 1
fi
sql --dbname="$new" --command=ANALYZE
echo "restored $wanted tables beside $PGDATABASE"
for archive in "$backup"/*.tar; do
  [ -f "$archive" ] || continue
  mkdir -p "$work"
  tar -C "$work" --numeric-owner --same-owner --xattrs --xattrs-include="user.*" -xpf "$archive"
done

# The moment. Nobody gets in between the end of the connections and the new name.
if [ "$(sql --command="SELECT count(*) FROM pg_database WHERE datname = '$PGDATABASE'")" = 1 ]; then
  closed=yes
  sql --command="ALTER DATABASE \"$PGDATABASE\" WITH ALLOW_CONNECTIONS false"
  for _ in $(seq 100); do
    left=$(sql --command="SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '$PGDATABASE'")
    [ "$left" = 0 ] && break
    sleep 0.05
  done
  sql --command="BEGIN" --command="ALTER DATABASE \"$PGDATABASE\" RENAME TO \"$old\"" \
      --command="ALTER DATABASE \"$new\" RENAME TO \"$PGDATABASE\"" \
      --command="ALTER DATABASE \"$old\" WITH ALLOW_CONNECTIONS true" --command="COMMIT"
  closed=
  echo "database $PGDATABASE is the restored one; the one before is kept as $old"
else
  sql --command="ALTER DATABASE \"$new\" RENAME TO \"$PGDATABASE\""
  echo "database $PGDATABASE is the restored one; there was none"
fi
# What is inside the folders moves, not the folders: pods have them mounted.
for folder in "$work"/*; do
  [ -d "$folder" ] || continue
  name=${folder##*/}
  mkdir -p "$ROOT/.before-$stamp/$name" "$ROOT/$name"
  find "$ROOT/$name" -mindepth 1 -maxdepth 1 -exec mv -t "$ROOT/.before-$stamp/$name" '{}' +
  find "$folder" -mindepth 1 -maxdepth 1 -exec mv -t "$ROOT/$name" '{}' +
  echo "files of $name are the restored ones; those before are kept in .before-$stamp"
done
