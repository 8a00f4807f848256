"""What must happen for a relay to pass a rare crash point. Best effort: other faults may be in the way, and then it is
counted as missed. The limit of 3,000 bytes that makes the broker refuse is the same that system.hurt() sets."""
from support.process import wait_until

from .bank import TOO_LARGE

REDRIVEN = ("after_stamp", "before_redrive_commit", "after_redrive_commit")
REFUSED_AGAIN = ("before_unstamp", "after_unstamp")
KEYS = ("k0", "k3", "k6", "k9")


def before(system, point):
    """The dead letters that the point needs, put aside by whoever is at work."""
    if point in REDRIVEN + REFUSED_AGAIN:
        limit(system, 3000)
        poison(system)
        try:
            wait_until("it is put aside", lambda: system.database.value(
                "SELECT count(*) FROM once.dead_letter WHERE stamp IS NULL"), 5, 0.1)
        except TimeoutError:
            pass


def now(system, point):
    if point in REDRIVEN:
        limit(system, 100000)
    if point in REDRIVEN + REFUSED_AGAIN:
        system.database.execute("SELECT once.redrive_all()")
    elif point in ("before_park", "after_park"):
        limit(system, 3000)
        poison(system)
    elif point in ("before_trim", "after_trim"):
        system.database.execute("SELECT once.rotate()")
    elif point.startswith("inbox_"):
        database = system.box.database
        database.execute("INSERT INTO app.bad SELECT unnest(%s) ON CONFLICT DO NOTHING", (list(KEYS),))
        if point == "inbox_before_redrive_commit":
            wait_until("messages are put aside", lambda: database.value(
                "SELECT count(*) FROM once.inbox"), 10, 0.1)
            after(system, point)


def after(system, point):
    if point in REDRIVEN:
        limit(system, 3000)
    elif point in ("inbox_before_park", "inbox_after_park", "inbox_before_redrive_commit"):
        system.box.database.execute("DELETE FROM app.bad")
        system.box.database.execute("SELECT once.inbox_redrive('billing')")


def poison(system):
    system.bank.put(system.small, 1, "k5", TOO_LARGE)


def limit(system, most):
    system.kafka.tools.run("alter_topic", topic=system.small, settings={"max.message.bytes": str(most)})
