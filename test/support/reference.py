"""The generated references as text: what the catalog and the relay say about themselves."""
import subprocess

from .process import RELAY, TOP

REFERENCE = TOP / "sql/REFERENCE.md"
OPTIONS = TOP / "relay/OPTIONS.md"
KINDS = {"publisher": "May publish (`once.grant_publisher`)", "consumer": "May receive and claim (`once.grant_consumer`)",
         "relay": "May run the outbox relay (`once.grant_relay`)", "admin": "May decide and look (`once.grant_admin`)"}

# A function stands once, under the first kind of role that may call it.
FUNCTIONS = """
    SELECT p.proname::text, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
           obj_description(p.oid, 'pg_proc'),
           ARRAY(SELECT kind FROM once.role_right r WHERE r.object = p.proname AND r.privilege = 'EXECUTE'
                 ORDER BY array_position(ARRAY['publisher', 'consumer', 'relay', 'admin'], kind))
    FROM pg_proc p
    WHERE p.pronamespace = 'once'::regnamespace AND p.prokind IN ('f', 'p')
      AND obj_description(p.oid, 'pg_proc') !~ '^(internal|trigger):'
    ORDER BY 1, 2"""
RELATIONS = """
    SELECT c.relname::text, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, obj_description(c.oid, 'pg_class'),
           ARRAY(SELECT kind FROM once.role_right r WHERE r.object = c.relname AND r.privilege = 'SELECT' ORDER BY kind),
           ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum)
    FROM pg_class c
    WHERE c.relnamespace = 'once'::regnamespace AND c.relkind IN ('r', 'v')
      AND EXISTS (SELECT FROM once.role_right r WHERE r.object = c.relname AND r.privilege = 'SELECT')
    ORDER BY 1"""
ENUMS = """
    SELECT t.typname::text, (SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
           obj_description(t.oid, 'pg_type')
    FROM pg_type t WHERE t.typnamespace = 'once'::regnamespace AND t.typtype = 'e' ORDER BY 1"""
SETTINGS = """
    SELECT name, boot_val, coalesce(unit, ''), coalesce(min_val || ' to ' || max_val, ''), context, short_desc, extra_desc
    FROM pg_settings WHERE name LIKE 'once.%' ORDER BY 1"""


def cell(text):
    return " · ".join(line.strip() for line in (text or "").splitlines() if line.strip()).replace("|", "\\|")


def functions(database):
    rows = database.query(FUNCTIONS)
    groups = [(title, [row for row in rows if row[4][:1] == [kind]]) for kind, title in KINDS.items()]
    groups.append(("Superusers and owners", [row for row in rows if not row[4]]))
    for title, members in groups:
        yield f"\n## {title}\n\n"
        for name, arguments, result, comment, kinds in members:
            yield f"### `{name}({arguments}){' → ' + result if result and result != 'void' else ''}`\n\n"
            if kinds[1:]:
                yield f"Also: {', '.join(kinds[1:])}.\n\n"
            yield "".join(f"- {line.strip()}\n" for line in (comment or "").splitlines() if line.strip()) + "\n"


def tables(database):
    yield "## Views and tables that roles may read\n\n| name | kind | who | columns | what it is |\n|---|---|---|---|---|\n"
    for name, kind, comment, kinds, columns in database.query(RELATIONS):
        yield f"| `{name}` | {kind} | {', '.join(kinds)} | {', '.join(columns)} | {cell(comment)} |\n"
    yield "\n## Enumerations\n\n| type | labels | what it is |\n|---|---|---|\n"
    for name, labels, comment in database.query(ENUMS):
        yield f"| `{name}` | {', '.join(f'`{label}`' for label in labels)} | {cell(comment)} |\n"


def settings(database):
    yield "\n## Settings\n\n| setting | default | bounds | who sets it | meaning |\n|---|---|---|---|---|\n"
    with database.session() as cursor:  # they are known to a session that has the library
        cursor.execute("LOAD 'pg_once'")
        cursor.execute(SETTINGS)
        for name, default, unit, bounds, context, short, more in cursor.fetchall():
            yield f"| `{name}` | {default}{' ' + unit if unit else ''} | {bounds} | {context} | {cell(short)} {cell(more)} |\n"


def text_of_reference(database):
    head = ("# Reference of the schema `once`\n\nWritten by `make reference` from the catalog: names, arguments and comments are those "
            "of the database (`\\df+ once.*`).\nExamples are in [the guides](guide), SQLSTATEs in [sql](README.md).\n")
    return (head + "".join([*functions(database), *tables(database), *settings(database)])).rstrip() + "\n"


def text_of_options():
    return subprocess.check_output([RELAY, "help", "markdown"], text=True)
