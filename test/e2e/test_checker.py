"""The checker itself, by mutation: every kind of damage to a good history is caught, none is found in a good one."""
import copy
import functools
import json
from dataclasses import replace

import pytest

from support import checker
from support.checker import check, murmur2
from support.good_history import SOURCE, TOPICS, Builder
from support.kafka import Message
from support.report import Report
from support.transaction_checker import check_ends

def good(seed=7):
    return copy.deepcopy(build(seed))


@functools.lru_cache
def build(seed):
    return Builder(seed).build()


def same_key(history):
    """Places of two neighbours of one key in the final log."""
    last = {}
    for place, message in enumerate(history.final):
        name = (message.topic, message.key)
        if name in last and place > 40:
            return last[name], place
        last[name] = place
    raise AssertionError("no key with two messages")


def drop(history):
    del history.final[len(history.final) // 2]


def drop_last(history):
    history.live = []
    history.final.pop()


def double(history):
    message = history.final[10]
    history.final.append(message._replace(offset=10_000))


def double_under_another_id(history):
    headers = [(name, b"another" if name == "once-id" else value) for name, value in history.final[-1].headers]
    history.final.append(history.final[-1]._replace(offset=10_000, headers=headers))


def double_without_headers(history):
    history.final.append(history.final[-1]._replace(offset=10_000, headers=[]))


def name_twice(history):
    """A second id behind the first: which one a receiver takes is its own affair."""
    history.live = []
    history.final[5] = history.final[5]._replace(headers=history.final[5].headers + [("once-id", b"another")])


def drop_with_its_row(history):
    """The last message of a key, and nobody remembers it: only the numbers do."""
    history.live = []
    gone = history.final.pop()
    history.intents = [intent for intent in history.intents if intent.id != checker.header(gone, "once-id")]
    history.rows = [row for row in history.rows if row.id != checker.header(gone, "once-id")]


def swap(history):
    history.live = []
    exchange(history, *same_key(history))


def exchange(history, one, two):
    first, second = history.final[one], history.final[two]
    history.final[one], history.final[two] = second._replace(offset=first.offset), first._replace(offset=second.offset)


def swap_keys(history):
    """Two keys of one partition: no key is out of order, and a receiver that keeps the highest number loses one."""
    history.live = []
    exchange(history, *next((one, two) for two in range(len(history.final)) for one in range(two)
                            if history.final[one].key != history.final[two].key
                            and history.final[one][:2] == history.final[two][:2]))


def swap_over_batches(history):
    """Each with the other's number: the numbers rise, the key's versions do not."""
    history.live = []
    one, two = same_key(history)
    exchange(history, one, two)
    first, second = history.final[one], history.final[two]
    history.final[one], history.final[two] = (
        message._replace(headers=[message.headers[0], *other.headers[1:]]) for message, other in ((first, second), (second, first)))


def invent(history):
    headers = [("once-id", b"never published"), ("once-source", SOURCE.encode()), ("once-position", b"100000")]
    history.final.append(history.final[0]._replace(offset=10_000, headers=headers))


def show_rolled_back(history):
    lost = next(intent for intent in history.intents if intent.outcome == "rolled back")
    headers = [("once-id", lost.id.encode()), ("once-source", SOURCE.encode()), ("once-position", b"100000")]
    history.final.append(Message(lost.topic, 0, 10_000, 0, lost.key, b"x", headers))


def tear(history):
    """A transaction's messages are there, its position record is not."""
    history.positions.pop()
    while checker.parse_position(history.positions[-1]).counter == counter_of(history.final[-1]):
        history.positions.pop()


def tear_other_way(history):
    """The position record is there and one of its messages is not, nor its row: the intent log alone knows."""
    history.live = []
    gone = history.final.pop(len(history.final) - 2)
    history.waiting = {checker.header(gone, "once-id")}


def fork(history):
    """Two successors of one position."""
    history.positions.append(history.positions[-2]._replace(offset=10_000))


def fork_snapshot(history):
    alter(history, len(history.positions) // 2, s_prev="5:5:")


def alter(history, place, **more):
    value = json.loads(history.positions[place].value) | more
    history.positions[place] = history.positions[place]._replace(value=json.dumps(value).encode())


def stand_twice(history):
    """Two successors that say the same: two relays wrote, and by luck nothing was to be shipped."""
    history.positions.append(history.positions[-1]._replace(offset=10_000))


def begin_late(history):
    """The record that tells where it began is not there, nor what it passed."""
    place = next(n for n, record in enumerate(history.positions) if n > 1 and checker.parse_position(record).counter)
    history.positions = history.positions[:2] + history.positions[place:]


def begin_again(history):
    history.positions.append(history.positions[2]._replace(offset=10_000))
    alter(history, -1, counter=str(counter_of(history.final[-1])), redrive_no="2")


def skip_difference(history):
    """A position moved on over rows that nobody shipped."""
    steps = [checker.parse_position(record) for record in history.positions]
    place = next(n for n in range(5, len(steps) - 1) if not {n, n + 1} & set(redrives(history))
                 and steps[n - 1].slice_seq is steps[n].slice_seq is None and steps[n].counter > steps[n - 1].counter)
    del history.positions[place]
    gone = {row.id for row in difference_of(history, place)}
    history.final = [m for m in history.final if checker.header(m, "once-id") not in gone]
    history.intents = [intent for intent in history.intents if intent.id not in gone]
    history.live = []


def difference_of(history, place):
    value = json.loads(history.positions[place].value)
    before = json.loads(history.positions[place - 1].value)
    return checker.LaneRows(history.rows).difference(before["s_now"], value["s_prev"])


def move_boundary(history):
    """A message belongs to the transaction before: it was visible when its position says it was not."""
    place = next(place for place in range(5, len(history.positions))
                 if 0 < checker.parse_position(history.positions[place]).counter < counter_of(history.final[-1]))
    alter(history, place, counter=str(checker.parse_position(history.positions[place]).counter + 1))


def copy_topic(history):
    message = history.final[20]
    headers = [(name, b"other" if name == "once-topic" else value) for name, value in message.headers]
    history.final[20] = message._replace(headers=headers)
    history.live = []


def renumber(history):
    message = history.final[20]
    headers = [(name, b"5" if name == "once-position" else value) for name, value in message.headers]
    history.final[20] = message._replace(headers=headers)
    history.live = []


def wrong_last(history):
    alter(history, -1, last_id="another")


def stale_last(history):
    """The event before the last: trimming would take the one that the history is known by."""
    rows = [row for row in history.rows if row.seq < int(json.loads(history.positions[-1].value)["last_seq"])]
    alter(history, -1, last_seq=str(rows[0].seq), last_id=rows[0].id)


def redrives(history):
    return [place for place, (before, now) in enumerate(zip(history.positions[2:], history.positions[3:]), 3)
            if checker.parse_position(now).redrive_no > checker.parse_position(before).redrive_no]


def redrive_unnamed(history):
    """The record does not say that it shipped again what was put aside."""
    first, second = redrives(history)
    alter(history, first, redrive_no="0")


def redrive_of_others(history):
    """It ships what another number was to ship."""
    history.redriven = {(0, 1): history.redriven[0, 2], (0, 2): history.redriven[0, 1]}


def redrive_of_nothing(history):
    history.redriven.pop((0, 2))


def redrive_skips_a_number(history):
    for place in range(redrives(history)[1], len(history.positions)):
        alter(history, place, redrive_no="3")
    history.redriven[0, 3] = history.redriven.pop((0, 2))


def redrive_with_a_difference(history):
    """A record that passes new events and counts as a redrive as well: which messages are which?"""
    for later in range(redrives(history)[1] + 1, len(history.positions)):
        alter(history, later, redrive_no="3")
    history.redriven[0, 3] = []


def redrive_passes(history):
    """It moves the last event passed, which only the main path may."""
    alter(history, redrives(history)[0], last_seq="1", last_id="id-1")


def park_and_ship(history):
    history.parked.add(checker.header(history.final[3], "once-id"))


def ship_again_soon(history):
    """What was shipped again still waits, so it will be once more."""
    history.waiting = {history.redriven[0, 2][-1]}


def never_redriven(history):
    """Put aside, stamped, and then forgotten: it waits for nobody, and the record of its number is not there."""
    history.live = []
    gone = set(history.redriven.pop((0, 2)))
    history.final = [message for message in history.final if checker.header(message, "once-id") not in gone]


def hold_and_overtake(history):
    """It waits, and its key went on without it."""
    history.live = []
    gone = history.redriven[0, 1][0]
    history.final = [message for message in history.final if checker.header(message, "once-id") != gone]
    history.waiting = {gone}


def report_too_soon(history):
    """Under a position whose transaction was then aborted."""
    last = history.reports[-1]
    history.reports[-1] = replace(last, position={**last.position, "counter": str(int(last.position["counter"]) + 1)})


def trim_too_much(history):
    history.reports[10] = replace(history.reports[10], missing=[history.rows[-1].seq])


def trim_unwatched(history):
    """The transaction ended, and nobody looked what it had taken."""
    history.reports[10] = replace(history.reports[10], missing=None)


def no_reports(history):
    history.reports = []


def commit_in_two(history):
    """The messages in one Kafka transaction, their record in the next: whoever dies or is fenced between them tears them."""
    place = next(n for n, change in enumerate(history.transactions) if change.state == "PrepareCommit" and "orders" in change.topics)
    commit = history.transactions[place]
    history.transactions[place:place + 1] = [replace(commit, topics=tuple(TOPICS)), replace(commit, topics=("once.positions",))]


def commit_two_records(history):
    """Two records in one Kafka transaction."""
    place = max(n for n, change in enumerate(history.transactions) if change.state == "PrepareCommit")
    del history.transactions[place - 1:place + 2]


def commit_late(history):
    """Of a relay that was fenced: its epoch is over."""
    history.transactions += [replace(history.transactions[0], state=state, topics=("orders", "once.positions"))
                             for state in ("Ongoing", "PrepareCommit", "CompleteCommit")]


def commit_of_an_old_producer(history):
    """The id was given to another producer, and the one before comes back with a higher epoch."""
    history.transactions = [replace(change, producer=8) for change in history.transactions[:9]] + history.transactions[9:] + [
        replace(history.transactions[9], producer=8, epoch=5)]


def no_transactions(history):
    history.transactions = []


def nothing_published(history):
    history.rows, history.intents, history.final, history.live = [], [], [], []


def no_rows(history):
    history.rows = []


def no_records(history):
    history.positions = []


def reader_saw_nothing(history):
    history.live.append([])


def reader_saw_what_vanished(history):
    """It was there to the last, and at the end it is not; no other id, no hole."""
    history.live = [list(history.final)]
    gone = history.final.pop()
    history.intents = [intent for intent in history.intents if intent.id != checker.header(gone, "once-id")]


def change_payload(history):
    history.live = []
    history.final[5] = history.final[5]._replace(value=b"other")


def change_key(history):
    history.live = []
    history.final[5] = history.final[5]._replace(key=b"other")


def add_header(history):
    history.live = []
    history.final[5] = history.final[5]._replace(headers=history.final[5].headers + [("x", b"y")])


def move_partition(history):
    history.live = []
    message = next(m for m in history.final if m.topic == "orders")
    history.final[history.final.index(message)] = message._replace(partition=(message.partition + 1) % 4)


def reader_saw_aborted(history):
    extra = history.live[0][-1]._replace(value=b"aborted")
    history.live[0].append(extra)


def reader_saw_hole(history):
    """What a torn commit or a read of aborted data looks like to one who reads live."""
    one, _ = same_key(history)
    live = list(history.final)
    del live[one]
    history.live = [live]


def counter_of(message):
    return int(checker.header(message, "once-position"))


MUTATIONS = [
    (drop, "I1"), (drop_last, "I1"), (double, "I2"), (swap, "I4"), (invent, "I3"), (show_rolled_back, "I3"),
    (tear, "I6"), (tear_other_way, "I6"), (fork, "I7"), (fork_snapshot, "I7"), (skip_difference, "I7"), (move_boundary, "I6"),
    (renumber, "I6"), (wrong_last, "I6"), (change_payload, "I15"), (change_key, "I15"), (copy_topic, "I15"), (add_header, "I15"),
    (move_partition, "I15"), (reader_saw_aborted, "I9"), (reader_saw_hole, "I5"), (reader_saw_hole, "I9"),
    (double_under_another_id, "I3"), (double_without_headers, "I3"), (name_twice, "I15"), (drop_with_its_row, "I6"),
    (swap_keys, "I7"), (swap_over_batches, "I4"), (stand_twice, "I7"), (begin_late, "I7"), (begin_again, "I7"), (stale_last, "I6"),
    (redrive_unnamed, "I7"), (redrive_of_others, "I6"), (redrive_of_nothing, "I6"), (redrive_skips_a_number, "I7"),
    (redrive_with_a_difference, "I6"), (redrive_passes, "I6"), (park_and_ship, "I6"), (ship_again_soon, "I2"),
    (never_redriven, "I1"), (hold_and_overtake, "I5"), (nothing_published, "evidence"), (no_rows, "evidence"),
    (commit_in_two, "I6"), (commit_two_records, "I6"), (commit_late, "I8"), (commit_of_an_old_producer, "I8"),
    (report_too_soon, "I10"), (trim_too_much, "I10"), (trim_unwatched, "I10"), (no_reports, "evidence"),
    (no_transactions, "evidence"), (no_records, "evidence"), (reader_saw_nothing, "evidence"), (reader_saw_what_vanished, "I9"),
]


@pytest.mark.parametrize("seed", range(20))
def test_good_history_is_good(seed):
    history = good(seed)
    report = check(history)
    assert report.ok, report
    assert report.published == report.delivered > 50


@pytest.mark.parametrize("mutation, invariant", MUTATIONS, ids=[f"{i}_{m.__name__}" for m, i in MUTATIONS])
def test_damage_is_caught(mutation, invariant):
    for seed in range(5):
        history = good(seed)
        mutation(history)
        report = check(history)
        assert invariant in report.invariants(), f"seed {seed}: {report}"


def test_I11_unknown_outcome_is_decided_by_the_table():
    history = good()
    there = next(i for i in history.intents if i.outcome == "committed")
    gone = next(i for i in history.intents if i.outcome == "rolled back")
    history.intents = [replace(i, outcome="unknown") if i in (there, gone) else i for i in history.intents]
    assert check(history).ok
    history.final = [m for m in history.final if checker.header(m, "once-id") != there.id]
    assert "I1" in check(history).invariants()


BEGIN_OTHER = ("begin", "id-0", 7, 3)


@pytest.mark.parametrize("steps, twice, good", [
    ([("begin", "id-0", 7, 2), ("end", "id-0", 7, 2), ("begin", "id-0", 7, 2), ("begin", "id-0", 7, 2), ("end", "id-0", 7, 2)], 0, True),
    ([("begin", "id-0", 7, 2), ("end", "id-0", 7, 2), ("end", "id-0", 7, 2), BEGIN_OTHER], 1, True),
    ([("begin", "id-0", 7, 2), ("end", "id-0", 7, 2), ("begin", "id-1", 8, 2), ("end", "id-0", 7, 2), ("end", "id-1", 8, 2)], 1, True),
    ([("begin", "id-0", 7, 2), ("end", "id-0", 7, 2), ("end", "id-0", 7, 2), ("begin", "id-0", 7, 2)], 1, False),
    ([("begin", "id-0", 7, 2), ("end", "id-0", 7, 2), BEGIN_OTHER, ("end", "id-0", 7, 2), ("begin", "id-0", 7, 2)], 1, False)],
    ids=["once_each", "new_epoch", "ring_of_two", "same_epoch", "same_epoch_later"])
def test_I8_who_ends_twice_begins_with_a_new_epoch(steps, twice, good):
    report = Report()
    assert check_ends(((float(when), *step) for when, step in enumerate(steps)), report) == twice
    assert report.ok == good


def test_murmur2_is_kafkas():
    """Values of Apache Kafka's UtilsTest."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
             b"a-little-bit-longer-string": -1486304829, b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
             b"abc": 479470107}
    for text, value in known.items():
        assert murmur2(text) == value & 0xFFFFFFFF
