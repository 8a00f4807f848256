"""What goes wrong when: a pure function of the seed, so that a finding can be had again.

A run is a row of periods. In the first three quarters of a period faults happen on several tracks side by side (a
track is one thing that can be broken: the outbox relays, a database, the brokers, …; its own faults come one after the
other); in the last, quiet quarter everything is healed and must get going again by itself.
"""
import random
from dataclasses import dataclass

PERIOD_SECONDS = 60
QUIET = 0.25
TRACKS = ("outbox", "inbox", "sender", "receiver", "brokers", "wire", "world")
FINALES = ("clone", "position_deleted", "position_policy", "restored_image", "lost_commits", "unclean_election")

# Crash points that only the first start of a lane or a group passes: a run begins with them.
BIRTHS = {"outbox": ("after_genesis", "after_arm"), "inbox": ("inbox_after_start",)}
# Passed only when something is put aside, redriven or trimmed: the first time it happens will do.
RARE = ("after_trim", "before_trim", "before_park", "after_park", "after_stamp", "before_redrive_commit", "after_redrive_commit",
        "before_unstamp", "after_unstamp", "inbox_before_park", "inbox_after_park", "inbox_before_redrive_commit")
SWEEP_SECONDS = 180  # runs of this length end with the crash points that were not met among the faults
# ApiKeys that our relays use: produce, fetch, list_offsets, metadata, offset_commit, find_coordinator, join_group,
# heartbeat, sync_group, api_versions, init_producer_id, add_partitions_to_txn, end_txn.
APIS = (0, 1, 2, 3, 8, 10, 11, 12, 14, 18, 22, 24, 26)
# Pauses between the faults of a track, seconds: a server that never runs would hide everything else.
GAPS = {"outbox": (0.2, 1.5), "inbox": (0.2, 1.5), "sender": (2, 6), "receiver": (2, 6), "brokers": (3, 8),
        "wire": (0.5, 2), "world": (0.5, 2)}
ACTIONS = ("hold", "delay", "drop", "cut", "reconnect")


@dataclass(frozen=True)
class Kind:
    track: str
    weight: int  # how often, against the others of its track
    seconds: tuple  # how long it lasts, from … to
    choices: dict  # name -> values; each fault draws one of each


NODES = {"node": (0, 1, 2)}
RELAYS = {"which": (0, 1)}
WAYS = ("both", "request", "response")
DOWN = {"down": (0.0, 0.0, 0.3, 1.5)}

KINDS = {
    "kill_outbox": Kind("outbox", 8, (0.3, 2), {**RELAYS, **DOWN}),
    "crash_outbox": Kind("outbox", 12, (8, 8), {"nth": (1, 1, 2, 5)}),
    "stop_outbox": Kind("outbox", 2, (0.5, 4), RELAYS),
    "hang_outbox": Kind("outbox", 1, (16, 18), RELAYS),  # longer than a lane or an assignment is kept
    "term_outbox": Kind("outbox", 1, (1, 2), RELAYS),
    "clock_outbox": Kind("outbox", 1, (4, 6), {**RELAYS, "jump": ("+1h", "-1h", "+400d", "-2d")}),
    "kill_inbox": Kind("inbox", 8, (0.3, 2), {**RELAYS, **DOWN}),
    "crash_inbox": Kind("inbox", 8, (8, 8), {**RELAYS, "nth": (1, 1, 2, 4)}),
    "stop_inbox": Kind("inbox", 2, (0.5, 4), RELAYS),
    "hang_inbox": Kind("inbox", 1, (16, 18), RELAYS),  # longer than a lane or an assignment is kept
    "term_inbox": Kind("inbox", 1, (1, 2), RELAYS),
    "clock_inbox": Kind("inbox", 1, (4, 6), {**RELAYS, "jump": ("+1h", "-1h", "+400d", "-2d")}),
    "kill_sender": Kind("sender", 4, (0.5, 2), {}),
    "immediate_sender": Kind("sender", 2, (0.5, 2), {}),
    "restart_sender": Kind("sender", 1, (0.5, 1), {}),
    "backends_sender": Kind("sender", 3, (1, 3), {"times": (1, 3)}),
    "stop_sender": Kind("sender", 2, (1, 8), {}),
    "promote_sender": Kind("sender", 2, (6, 8), {}),
    "disk_full_sender": Kind("sender", 1, (2, 5), {}),
    "kill_receiver": Kind("receiver", 4, (0.5, 2), {}),
    "immediate_receiver": Kind("receiver", 2, (0.5, 2), {}),
    "restart_receiver": Kind("receiver", 1, (0.5, 1), {}),
    "backends_receiver": Kind("receiver", 3, (1, 3), {"times": (1, 3)}),
    "stop_receiver": Kind("receiver", 2, (1, 8), {}),
    "disk_full_receiver": Kind("receiver", 1, (2, 5), {}),
    "clock_sender": Kind("sender", 1, (5, 8), {"jump": ("+1h", "-1h", "+2d", "-2d")}),
    "clock_receiver": Kind("receiver", 1, (5, 8), {"jump": ("+1h", "-1h", "+2d", "-2d")}),
    "handler_fails": Kind("receiver", 4, (1, 4), {}),
    "handler_outlives": Kind("receiver", 2, (8, 11), {}),  # longer than max.poll.interval.ms
    "kill_broker": Kind("brokers", 4, (1, 5), NODES),
    "stop_broker": Kind("brokers", 3, (1, 7), NODES),
    "restart_broker": Kind("brokers", 2, (1, 2), NODES),
    "rolling_restart": Kind("brokers", 1, (12, 12), {}),
    "min_isr_lost": Kind("brokers", 2, (3, 8), NODES),
    "quorum_lost": Kind("brokers", 1, (2, 5), NODES),
    "move_leaders": Kind("brokers", 3, (1, 2), {"what": ("topics", "coordinator", "positions", "groups")}),
    "clock_broker": Kind("brokers", 1, (6, 9), {**NODES, "jump": ("+1h", "-1h", "+6h")}),
    "kafka_wire": Kind("wire", 14, (1, 4), {"times": (1, 2, 5)}),
    "late_end_txn": Kind("wire", 4, (3, 9), {}),
    "database_stalls": Kind("wire", 2, (1, 6), {"which": ("sender", "receiver"), "direction": WAYS}),
    "database_slow": Kind("wire", 1, (2, 4), {"which": ("sender", "receiver")}),
    "database_cut": Kind("wire", 4, (0.5, 1), {"which": ("sender", "receiver"), "after": (0, 60, 700, 9000, 60000), "direction": WAYS}),
    "foreign_producer": Kind("world", 4, (1, 2), {"ring": (0, 1)}),
    "partition_added": Kind("world", 1, (1, 2), {}),
    "topic_recreated": Kind("world", 1, (2, 3), {}),
    "poison": Kind("world", 5, (1, 3), {"key": tuple(range(12))}),
    "redrive_refused": Kind("world", 4, (1, 3), {}),
    "redrive": Kind("world", 5, (1, 4), {}),
    "long_transaction": Kind("world", 3, (2, 10), {}),
    "prepared": Kind("world", 2, (2, 10), {}),
    "positions_compacted": Kind("world", 2, (8, 8), {}),
    "positions_long": Kind("world", 1, (0.2, 0.5), {}),
    "right_revoked": Kind("world", 2, (2, 6), {"right": (
        ("write", "topic", "orders"), ("write", "topic", "positions"), ("read", "topic", "positions"),
        ("write", "transactional_id", "once-"), ("read", "topic", "orders"), ("read", "group", "chaos"))}),
    "rotate": Kind("world", 5, (0.2, 0.5), {}),
    "reindex": Kind("world", 2, (1, 4), {"which": ("sender", "receiver")}),
    "idle": Kind("world", 1, (12, 14), {}),
}


@dataclass(frozen=True)
class Step:
    period: int
    at: float  # seconds after the period began
    kind: str
    seconds: float
    details: tuple  # ((name, value), …)

    @property
    def track(self):
        return KINDS[self.kind].track

    def __getitem__(self, name):
        return dict(self.details)[name]

    def __str__(self):
        words = " ".join(f"{name}={value}" for name, value in self.details)
        when = f"{self.period + 1:3} {self.at:6.1f} s"
        return f"{when}  {self.track:9}{self.kind:19}{self.seconds:5.1f} s  {words}".rstrip()


@dataclass(frozen=True)
class Plan:
    seed: int
    periods: int
    period_seconds: float
    lanes: int
    producers: int
    near_wrap: bool  # the sender's transaction ids pass 2^32
    steps: tuple
    finale: str

    @property
    def sweeps(self):
        """Whether it ends with the crash points that were not met among the faults."""
        return self.periods * self.period_seconds >= SWEEP_SECONDS and any(
            step.kind.startswith("crash_") for step in self.steps)

    def of(self, period, track):
        return [step for step in self.steps if step.period == period and step.track == track]

    def header(self):
        return (f"seed {self.seed} · {self.periods} periods of {self.period_seconds:.0f} s · {len(self.steps)} faults · "
                f"lanes {self.lanes} · producers {self.producers} · "
                f"{'xids near 2^32 · ' if self.near_wrap else ''}at the end: {self.finale or 'nothing'}")


class Deck:
    """Draws without repeating until all were drawn: nothing is forgotten for long."""

    def __init__(self, chance, cards):
        self.chance, self.cards, self.left = chance, list(cards), []

    def draw(self):
        if not self.left:
            self.left = self.cards[:]
            self.chance.shuffle(self.left)
        return self.left.pop()


def make(seed, seconds, points, faults=None, period_seconds=None):
    """`faults`: names of kinds or tracks or finales; None: all. `points`: what once-relay --crash-points says."""
    kinds = chosen(faults)
    period_seconds = period_seconds or min(PERIOD_SECONDS, seconds)
    periods = max(1, round(seconds / period_seconds))
    chance = random.Random(f"{seed}/frame")
    finales = [name for name in FINALES if faults is None or name in faults]
    frame = dict(lanes=chance.choice((1, 1, 2)), producers=chance.choice((1, 2)), near_wrap=chance.random() < 0.5,
                 finale=chance.choice(finales) if finales else "")
    tracks = [track for track in TRACKS if any(KINDS[name].track == track for name in kinds)]
    busy = [busy_tracks(chance, tracks, period) for period in range(periods)]
    steps = []
    for track in tracks:
        names = [name for name in kinds if KINDS[name].track == track]
        mine = [period for period in range(periods) if track in busy[period]]
        steps += track_steps(random.Random(f"{seed}/{track}"), names, mine, period_seconds, points)
    steps.sort(key=lambda step: (step.period, step.at, step.track))
    return Plan(seed, periods, period_seconds, steps=tuple(steps), **frame)


def busy_tracks(chance, tracks, period):
    """All at once in every third period; else the relays' and two more: where nothing runs no crash point is passed."""
    if period % 3 == 2:
        return tracks
    others = [track for track in tracks if track not in ("outbox", "inbox")]
    return ["outbox", "inbox", *chance.sample(others, min(2, len(others)))]


def chosen(faults):
    if faults is None:
        return list(KINDS)
    unknown = [name for name in faults if name not in KINDS and name not in TRACKS and name not in FINALES]
    if unknown:
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join((*TRACKS, *KINDS, *FINALES))}")
    return [name for name, kind in KINDS.items() if name in faults or kind.track in faults]


def track_steps(chance, names, among, period_seconds, points):
    kinds = Deck(chance, [name for name in names for _ in range(KINDS[name].weight)])
    points = [point for point in points if point not in BIRTHS["outbox"] + BIRTHS["inbox"]]
    decks = {"crash_outbox": Deck(chance, [p for p in points if not p.startswith("inbox_")]),
             "crash_inbox": Deck(chance, [p for p in points if p.startswith("inbox_")]),
             "kafka_wire": Deck(chance, [(action, api, direction) for action in ACTIONS for api in APIS
                                         for direction in ("request", "response")])}
    steps = []
    for period in among:
        at = chance.uniform(0.5, 2)
        while at < period_seconds * (1 - QUIET) - 1:
            name = kinds.draw()
            kind = KINDS[name]
            seconds = round(min(chance.uniform(*kind.seconds), period_seconds * (1 - QUIET) - at), 2)
            details = {key: chance.choice(values) for key, values in kind.choices.items()}
            if name.startswith("crash_"):
                details["point"] = decks[name].draw()
                if details["point"] in RARE:
                    details["nth"] = 1
            elif name == "kafka_wire":
                details["action"], details["api"], details["direction"] = decks[name].draw()
            steps.append(Step(period, round(at, 2), name, seconds, tuple(sorted(details.items()))))
            # A crash comes long before its time is up; what is late moves the rest of its track.
            at += (1.8 if name.startswith("crash_") else seconds) + chance.uniform(*GAPS[kind.track])
    return steps
