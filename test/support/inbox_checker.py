"""The history checker's other half: what the log has against what a receiving database made of it (I13, I15).

It knows the log as a read_committed reader saw it, the effects in the order in which they were made, and the offsets that
stand in the database. Its own mutation tests are in test/e2e/test_checker.py.
"""
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Optional

from .checker import header
from .report import Report


@dataclass(frozen=True)
class Effect:
    topic: str
    partition: int
    offset: int
    key: Optional[bytes]
    payload: Optional[bytes]


def check_inbox(log, effects, stored, ends, free_order=frozenset()):
    """`stored`: (topic, partition) → next offset. `ends`: the same of the log, as the broker says, markers of transactions
    counted. `free_order`: keys whose messages may pass each other (on_poison = skip)."""
    report = Report()
    report.published, report.delivered = len({identity(message) for message in log}), len(effects)
    if not log:
        report.add("unproven", "evidence", "no message was read")
    messages = {(message.topic, message.partition, message.offset): message for message in log}
    _check_content(messages, effects, report)
    _check_once(messages, effects, report)
    _check_order(effects, free_order, report)
    _check_offsets(messages, effects, stored, ends, report)
    return report


def identity(message):
    """What a duplicate is known by: the sender's id, or the place."""
    return header(message, "once-id") or (message.topic, message.partition, message.offset)


def place(effect):
    return effect.topic, effect.partition, effect.offset


def _check_content(messages, effects, report):
    """I15: every effect is of a message that is there, byte for byte."""
    for effect in effects:
        message = messages.get(place(effect))
        if message is None:
            report.add("phantom", "I13", f"{place(effect)}: no such message")
        elif (effect.key, effect.payload) != (message.key, message.value):
            report.add("altered", "I15", f"{place(effect)}: other key or payload")


def _check_once(messages, effects, report):
    """I13: each id acted once."""
    acted = Counter(identity(messages[place(effect)]) for effect in effects if place(effect) in messages)
    for name, times in acted.items():
        for _ in range(times - 1):
            report.add("doubled", "I13", f"{name} acted {times} times")
    for name in {identity(message) for message in messages.values()} - set(acted):
        report.add("lost", "I13", f"{name} did not act")


def _check_order(effects, free_order, report):
    """I13: in the order of the log, per key; messages without a key are in no order."""
    last = {}
    for effect in effects:
        name = (effect.topic, effect.partition, effect.key)
        if effect.key is None or effect.key in free_order:
            continue
        if effect.offset <= last.get(name, -1):
            report.add("inverted", "I13", f"{place(effect)} key {effect.key} after offset {last[name]}")
        last[name] = max(effect.offset, last.get(name, -1))


def _check_offsets(messages, effects, stored, ends, report):
    """I13: the offset is behind the last effect, nothing behind the offset has acted, and what comes next is not skipped.
    Holes may stand between."""
    behind = defaultdict(int)
    for topic, partition, offset in messages:
        behind[topic, partition] = max(offset + 1, behind[topic, partition])
    for where, end in behind.items():
        if stored.get(where) is None or stored[where] < end:
            report.add("torn", "I13", f"{where}: the database is at {stored.get(where)}, the log's last message at {end - 1}")
    for where, following in stored.items():
        if following is not None and following > ends.get(where, 0):
            report.add("torn", "I13", f"{where}: the database is at {following}, the log ends at {ends.get(where, 0)}")
    for effect in effects:
        if effect.offset >= (stored.get((effect.topic, effect.partition)) or 0):
            report.add("torn", "I13", f"{place(effect)}: acted, and the stored offset says it did not")
