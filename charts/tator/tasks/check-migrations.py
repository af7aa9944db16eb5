"""What the migrations that are to be applied would do to the data, looked at before any of them is.

Runs where manage.py runs. ALLOW_DATA_LOSS not empty: loss is told, and allowed. PENDING names a file that lists the
migrations to be applied, where the database has something to lose by them; it is empty where there is none.
Exit status: 0 go on, 1 stop.

SQL is judged against what the database holds: a table without rows loses none. Code in Python cannot be looked into,
which is said.
"""
import os
import re
import sys

import django
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

NAME = r'(?:"[^"]+"|\w+)'
TABLE = rf"((?:{NAME}\.)?{NAME})"
IF_EXISTS = r"(?:IF\s+EXISTS\s+)?"
# What may follow DROP in ALTER TABLE and is no column.
NO_COLUMN = {"CONSTRAINT", "DEFAULT", "NOT", "IDENTITY", "EXPRESSION"}
ALIASES = {
    "varchar": "character varying", "char": "character", "int": "integer", "int2": "smallint", "int4": "integer",
    "int8": "bigint", "float4": "real", "float8": "double precision", "decimal": "numeric", "bool": "boolean",
    "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone", "serial": "integer",
    "bigserial": "bigint", "smallserial": "smallint",
}
# Types that hold whatever the first one holds.
WIDER = {
    "smallint": {"integer", "bigint", "numeric"},
    "integer": {"bigint", "numeric", "double precision"},
    "bigint": {"numeric"},
    "real": {"double precision"},
    "character": {"character varying"},
    "date": {"timestamp without time zone", "timestamp with time zone"},
    "timestamp without time zone": {"timestamp with time zone"},
    "json": {"jsonb"},
}


def plain(statement):
    """A statement without comments and strings, so that what they say is not taken for what is done."""
    text = re.sub(r"--[^\n]*", " ", statement)
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    if not re.match(r"\s*DO\b", text, re.I):
        text = re.sub(r"\$(\w*)\$.*?\$\1\$", "''", text, flags=re.S)
    return re.sub(r"'(?:[^']|'')*'", "''", text)


def type_of(text):
    """Name and arguments of a type as SQL spells it."""
    found = re.match(r"\s*([A-Za-z_][\w ]*?)\s*(?:\(([^)]*)\))?\s*((?:with|without) time zone)?\s*$", text, re.I)
    if not found:
        return text.strip().lower(), []
    name = " ".join(part for part in (found[1], found[3]) if part).lower()
    return ALIASES.get(name, name), [part.strip() for part in (found[2] or "").split(",") if part.strip()]


def widens(old, new):
    """Whether every value of the type `old` is one of `new`, unchanged."""
    (old_name, old_size), (new_name, new_size) = type_of(old), type_of(new)
    if new_name == "text":
        return True
    if old_name != new_name and new_name not in WIDER.get(old_name, ()):
        return False
    if not new_size or old_size == new_size:
        return True
    if new_name.startswith("character"):
        return bool(old_size) and int(new_size[0]) >= int(old_size[0])
    if new_name == "numeric" and old_name == "numeric" and old_size:
        (old_all, old_after), (new_all, new_after) = ((int(n) for n in (*size, 0)[:2]) for size in (old_size, new_size))
        return new_after >= old_after and new_all - new_after >= old_all - old_after
    return False


class Database:
    """What the tables hold now, by the names that they will have when a statement runs."""

    def __init__(self):
        self.renamed = {}

    def ask(self, sql, *values):
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            row = cursor.fetchone()
        return row and row[0]

    def table(self, name):
        return self.renamed.get(name, name)

    def column(self, table, name):
        return self.renamed.get((table, name), name)

    def has_rows(self, table):
        table = self.table(table)
        return bool(self.ask("SELECT to_regclass(%s)", table) and self.ask(f"SELECT EXISTS (SELECT 1 FROM {table})"))

    def type(self, table, column):
        column = self.column(table, column)
        column = column.strip('"') if column.startswith('"') else column.lower()
        return self.ask(
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped",
            self.table(table), column,
        )

    def note_renames(self, text):
        for table, new in re.findall(rf"\bALTER\s+TABLE\s+{IF_EXISTS}{TABLE}\s+RENAME\s+TO\s+({NAME})", text, re.I):
            self.renamed[new] = self.table(table)
        pattern = rf"\bALTER\s+TABLE\s+{IF_EXISTS}{TABLE}\s+RENAME\s+(?:COLUMN\s+)?({NAME})\s+TO\s+({NAME})"
        for table, old, new in re.findall(pattern, text, re.I):
            if old.upper() != "CONSTRAINT":
                self.renamed[table, new] = self.column(table, old)


def losses(statement, database):
    """Why a statement would lose data; nothing if it would not."""
    text = plain(statement)
    for names in re.findall(rf"\bDROP\s+TABLE\s+{IF_EXISTS}((?:{TABLE}\s*,?\s*)+)", text, re.I):
        for table in re.findall(TABLE, names[0]):
            if table.upper() not in ("CASCADE", "RESTRICT") and database.has_rows(table):
                yield f"table {table} has rows"
    for names in re.findall(rf"\bTRUNCATE\s+(?:TABLE\s+)?(?:ONLY\s+)?((?:{TABLE}\s*,?\s*)+)", text, re.I):
        for table in re.findall(TABLE, names[0]):
            if database.has_rows(table):
                yield f"table {table} has rows"
    for table, rest in re.findall(rf"\bDELETE\s+FROM\s+(?:ONLY\s+)?{TABLE}([^;]*)", text, re.I):
        if not re.search(r"\bWHERE\b", rest, re.I) and database.has_rows(table):
            yield f"every row of table {table} goes"
    for kind in re.findall(r"\bDROP\s+(SCHEMA|DATABASE|EXTENSION|OWNED|TYPE|DOMAIN)\b[^;]*\bCASCADE\b", text, re.I):
        yield f"what depends on the {kind.lower()} goes with it"
    for table, rest in re.findall(rf"\bALTER\s+TABLE\s+{IF_EXISTS}(?:ONLY\s+)?{TABLE}([^;]*)", text, re.I):
        for column in re.findall(rf"\bDROP\s+(?:COLUMN\s+)?{IF_EXISTS}({NAME})", rest, re.I):
            if column.upper() not in NO_COLUMN and database.type(table, column) and database.has_rows(table):
                yield f"column {column} of {table}, which has rows, goes"
        pattern = rf"\bALTER\s+(?:COLUMN\s+)?({NAME})\s+(?:SET\s+DATA\s+)?TYPE\s+(.+?)(?=\s+USING\b|\s+COLLATE\b|,\s*(?:ALTER|DROP|ADD)\b|$)"
        for column, new in re.findall(pattern, rest, re.I | re.S):
            old = database.type(table, column)
            if old and not widens(old, new) and database.has_rows(table):
                yield f"column {column} of {table} is {old}: not every such value is a {new.strip()}"


def sql_of(migration, state):
    """The SQL of a migration, and the state of the models after it; instead of the SQL why it is not to be had."""
    before = state.clone()
    try:
        with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
            state = migration.apply(state, editor, collect_sql=True)
        return editor.collected_sql, state, None
    except Exception as error:  # What a migration does while it is looked at is its own business.
        return [], migration.mutate_state(before, preserve=True), error


def by_operations(migration):
    """Operations that take something away, where there is no SQL to judge."""
    for operation in migration.operations:
        if type(operation).__name__ in ("RemoveField", "DeleteModel", "AlterField", "RunSQL"):
            yield operation.describe()


def main():
    django.setup()
    allowed = bool(os.getenv("ALLOW_DATA_LOSS"))
    executor = MigrationExecutor(connection)
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    fresh = not MigrationRecorder(connection).applied_migrations()
    with open(os.environ["PENDING"], "w", encoding="utf-8") as pending:
        pending.writelines(f"{migration.app_label}.{migration.name}\n" for migration in plan if not fresh)
    if not plan:
        print("no migration is to be applied")
        return 0
    print("to be applied:", ", ".join(f"{migration.app_label}.{migration.name}" for migration in plan))
    if fresh:
        print("no migration was ever applied here: there is nothing to lose")
        return 0
    state = executor._create_project_state(with_applied_migrations=True)
    database, stop = Database(), False
    for migration in plan:
        name = f"{migration.app_label}.{migration.name}"
        statements, state, error = sql_of(migration, state)
        found = []
        for statement in statements:
            for why in losses(statement, database):
                found.append((statement.strip(), why))
            database.note_renames(plain(statement))
        if error is not None:
            found += [(f"-- {what}", f"its SQL is not to be had: {error}") for what in by_operations(migration)]
        if any("CANNOT BE WRITTEN AS SQL" in statement for statement in statements):
            print(f"{name} runs Python code, which cannot be looked into")
        if found:
            stop = True
            print(f"{name} would lose data:")
            for statement, why in found:
                print("    " + statement.replace("\n", "\n    "))
                print(f"      ({why})")
    if stop and not allowed:
        print("stopped: nothing was changed. With --allow-data-loss it is applied nevertheless")
        return 1
    if stop:
        print("that is allowed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
