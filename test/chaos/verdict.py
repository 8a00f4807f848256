"""The judgement over a run: the history checker for the sending side, I13 and the books for the receiving one."""
from collections import Counter

import psycopg2
from support import checker

from . import bank


def collect(system):
    history = system.world.history(live=[system.live_messages])
    history.final = history.final + system.kept + system.kafka.read(system.mortal)
    return history


def judge(system, history, tally):
    report = checker.check(history)
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


def judge_receiver(system, history, tally):
    """I13: each message is applied once, in the order of its key; the stored offsets are behind the last of them."""
    database = system.box.database
    effects = database.query("SELECT topic, partition, log_offset, key, id, convert_from(payload, 'UTF8') "
                             "FROM app.effect ORDER BY nr")
    tally.applied = len(effects)
    for identity, times in Counter(effect[4] for effect in effects).items():
        if times > 1:
            tally.finding("applied twice", f"I13 {identity} {times} times")
    seen = {(topic, partition, offset) for topic, partition, offset, *_ in effects}
    sent = {(m.topic, m.partition, m.offset) for m in history.final if m.topic != system.mortal}
    for place in sorted(sent - seen):
        tally.finding("not applied", f"I13 {place}")
    for place in sorted(seen - sent):
        tally.finding("applied twice", f"I13 {place} has an effect and no message")
    stored = {(topic, partition): following for topic, partition, following in database.query(
        "SELECT topic, partition, next FROM once.consumer_offset")}
    for topic, partition, offset in sent:
        if stored.get((topic, partition), 0) <= offset:
            tally.finding("not applied", f"I13 {topic}/{partition}: offset {offset} is not behind the stored one")
    accounts = {(topic, key): (version, balance) for topic, key, version, balance in system.database.query(
        "SELECT topic, key, version, balance FROM app_state WHERE topic <> %s AND version > 0", (system.mortal,))}
    for wrong in bank.books([(topic, key, payload) for topic, _, _, key, _, payload in effects], accounts):
        tally.finding("books", wrong)
