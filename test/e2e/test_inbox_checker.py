"""The inbox's checker by mutation: what a receiving database made of a log (I13, I15), and every damage to it."""
import random
from dataclasses import replace

import pytest

from support.inbox_checker import Effect, check_inbox
from support.kafka import Message


def received(seed=7):
    """A good log of which every third message comes twice, with the same id; effects of two partitions mixed; stored offsets."""
    chance = random.Random(seed)
    log, streams, stored, ends, done = [], [], {}, {}, set()
    for partition in range(2):
        offset, effects = 0, []
        for number in range(60):
            identity = f"{partition}-{number - 1 if number % 3 == 2 else number}"
            key = b"k%d" % chance.randrange(5)
            headers = [] if number % 10 == 9 else [("once-id", identity.encode())]
            log.append(Message("orders", partition, offset, 0, key, b"value %d" % number, headers))
            if not headers or identity not in done:
                effects.append(Effect("orders", partition, offset, key, b"value %d" % number))
            if headers:
                done.add(identity)
            offset += 1 + (chance.random() < 0.2)
        stored["orders", partition] = offset + chance.randrange(2)
        ends["orders", partition] = offset + 1
        streams.append(effects)
    mixed = []
    while any(streams):
        mixed.append(chance.choice([stream for stream in streams if stream]).pop(0))
    return log, mixed, stored, ends


def act_twice(log, effects, stored, ends):
    effects.append(effects[3])


def act_on_duplicate(log, effects, stored, ends):
    acted = {(e.partition, e.offset) for e in effects}
    other = next(m for m in log if (m.partition, m.offset) not in acted)
    effects.append(Effect(other.topic, other.partition, other.offset, other.key, other.value))


def forget_effect(log, effects, stored, ends):
    del effects[len(effects) // 2]


def forget_last_effect(log, effects, stored, ends):
    effects.pop()


def swap_effects(log, effects, stored, ends):
    one = next(n for n in range(len(effects)) if any(e.key == effects[n].key and e.partition == effects[n].partition for e in effects[n + 1:]))
    two = next(n for n in range(one + 1, len(effects)) if effects[n].key == effects[one].key and effects[n].partition == effects[one].partition)
    effects[one], effects[two] = effects[two], effects[one]


def act_on_nothing(log, effects, stored, ends):
    effects.append(replace(effects[0], offset=10_000))
    stored["orders", effects[0].partition] = ends["orders", effects[0].partition] = 10_001


def change_effect(log, effects, stored, ends):
    effects[5] = replace(effects[5], payload=b"other")


def change_effect_key(log, effects, stored, ends):
    effects[5] = replace(effects[5], key=b"other")


def offset_behind(log, effects, stored, ends):
    stored["orders", 1] = max(e.offset for e in effects if e.partition == 1)


def offset_beyond(log, effects, stored, ends):
    """All was applied; what comes next will be skipped."""
    stored["orders", 1] = ends["orders", 1] + 1


def offset_of_another_partition(log, effects, stored, ends):
    """Nothing stands there, and the first that comes is skipped."""
    stored["orders", 2] = 1


def nothing_came(log, effects, stored, ends):
    log.clear()
    effects.clear()
    stored.clear()


def offset_missing(log, effects, stored, ends):
    stored["orders", 0] = None


RECEIVED = [(act_twice, "doubled"), (act_on_duplicate, "doubled"), (forget_effect, "lost"), (forget_last_effect, "lost"), (swap_effects, "inverted"),
            (act_on_nothing, "phantom"), (change_effect, "altered"), (change_effect_key, "altered"), (offset_behind, "torn"), (offset_missing, "torn"),
            (offset_beyond, "torn"), (offset_of_another_partition, "torn"), (nothing_came, "unproven")]


def test_I13_good_receiving_is_good():
    for seed in range(20):
        report = check_inbox(*received(seed))
        assert report.ok and report.published == report.delivered > 60, report


@pytest.mark.parametrize("mutation, kind", RECEIVED, ids=[mutation.__name__ for mutation, _ in RECEIVED])
def test_I13_damage_in_receiving_is_caught(mutation, kind):
    for seed in range(5):
        history = received(seed)
        mutation(*history)
        assert check_inbox(*history).count(kind) > 0, f"seed {seed}: {check_inbox(*history)}"
