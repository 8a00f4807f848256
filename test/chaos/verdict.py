"""The judgement over a run: the history checker for the sending side, I13 and the books for the receiving one."""
import psycopg2
from support import checker
from support.inbox import received
from support.inbox_checker import check_inbox
from support.transaction_checker import check_ends

from . import bank


def collect(system):
    history = system.world.history(live=[system.live_messages])
    history.final = history.final + system.kept + system.kafka.read(system.mortal)
    return history


def judge(system, history, tally):
    report = checker.check(history)
    # Everything had time to come to it: a reader that fell silent confirms nothing.
    seen = {(message.topic, message.partition, message.offset) for message in system.live_messages}
    for message in history.final:
        if message.topic != system.mortal and message[:3] not in seen:
            report.add("unproven", "I9", f"the live reader never saw {message[:3]}")
    tally.ended_twice = check_ends((step for proxy in system.proxies for step in proxy.transactional), report)
    tally.events, tally.delivered = report.published, report.delivered
    for finding in report.findings:
        tally.finding(finding.kind, f"{finding.invariant} {finding.text}")
    if system.plan.near_wrap and int(system.database.value("SELECT pg_current_xact_id()::text")) < 2**32:
        tally.skipped["near_wrap"] = "too few transactions: their ids did not get to 2^32"
    judge_receiver(system, history, tally)
    for database in (system.database, system.box.database):
        judge_indexes(database, tally)


def judge_indexes(database, tally):
    """Rows are written past the executor: each must be in every index of its table, also in those made meanwhile."""
    database.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
    for (name,) in database.query("SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                                  "WHERE c.relnamespace = 'once'::regnamespace AND c.relkind = 'i' AND i.indisvalid"):
        try:
            database.execute("SELECT bt_index_check(%s::regclass, true)", (name,))
        except psycopg2.Error as error:
            tally.finding("index", str(error).strip())


# What a finding of the inbox's checker is called in the table.
RECEIVED = {"doubled": "applied twice", "phantom": "applied twice", "lost": "not applied", "torn": "not applied"}


def judge_receiver(system, history, tally):
    """I13, I15: each message is applied once, byte for byte, in the order of its key; the stored offsets are right behind."""
    effects, stored = received(system.box.database)
    tally.applied = len(effects)
    log = [message for message in history.final if message.topic != system.mortal]
    report = check_inbox(log, effects, stored, system.kafka.ends(*system.world.topics))
    for finding in report.findings:
        tally.finding(RECEIVED.get(finding.kind, finding.kind), f"{finding.invariant} {finding.text}")
    accounts = {(topic, key): (version, balance) for topic, key, version, balance in system.database.query(
        "SELECT topic, key, version, balance FROM app_state WHERE topic <> %s AND version > 0", (system.mortal,))}
    for wrong in bank.books([(effect.topic, effect.key and effect.key.decode(), effect.payload) for effect in effects], accounts):
        tally.finding("books", wrong)
