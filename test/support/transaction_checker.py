"""The history checker's third part: Kafka's own transactions, as coordinators wrote them down and as they went over the wire.

What readers see cannot tell whether messages and their position record were committed by one transaction or by two.
"""
from collections import Counter
from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Transaction:
    """One change of state of a transactional id, as its coordinator wrote it down."""
    id: str
    producer: int
    epoch: int
    state: str  # Empty, Ongoing, PrepareCommit, CompleteCommit, …
    topics: Tuple


def source_of(record):
    """`<incarnation>/<lane>` of any record of the position topic, start records too."""
    return record.key.decode().removesuffix("/start")


def check_transactions(history, report):
    """I6: what was committed with messages had a record, and each record a commit of its own. I8: epochs only rise."""
    commits, records, last = Counter(), Counter(source_of(record) for record in history.positions), {}
    place = {record.topic for record in history.positions}
    for change in history.transactions:
        incarnation, lane = change.id.removeprefix("once-").rsplit("-", 2)[:2]
        producers = last.setdefault(change.id, [(change.producer, change.epoch)])
        if change.producer != producers[-1][0]:
            producers.append((change.producer, -1))
        if change.epoch < producers[-1][1] or change.producer in dict(producers[:-1]):
            report.add("forked", "I8", f"{change.id}: {change.state} of producer {change.producer} epoch {change.epoch} after "
                                       f"{producers[-1]}")
        producers[-1] = change.producer, change.epoch
        if change.state != "PrepareCommit":
            continue
        if place & set(change.topics):
            commits[f"{incarnation}/{lane}"] += 1
        else:
            report.add("torn", "I6", f"{change.id}: a commit of {', '.join(change.topics)} without a position record")
    for source in sorted(set(commits) | set(records)):
        if commits[source] != records[source]:
            report.add("torn", "I6", f"{source}: {records[source]} position records in {commits[source]} transactions")


def check_ends(requests, report):
    """I8 on the wire: (when, "begin" | "end", transactional id, producer, epoch) of what clients sent. Who sent two EndTxn for
    one transaction begins none with the same epoch: the later of the two could end it. Returns how many were ended twice."""
    twice, ends = 0, Counter()
    for _, what, *who in sorted(requests):
        who = tuple(who)
        if what == "end":
            ends[who] += 1
            twice += ends[who] == 2
            continue
        if ends[who] > 1:
            report.add("forked", "I8", f"{who}: a transaction begins, the one before was ended {ends[who]} times")
        ends[who] = 0
    return twice
