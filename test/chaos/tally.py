"""What happened and what was found, counted by every thread of a run, and the table at the end."""
import threading
from collections import Counter

from support import report

# In the table's order. The first ones are the checker's; I13 and the books are the receiving side's; an index that lacks a row is of either.
KINDS = (*report.KINDS, "applied twice", "not applied", "books", "index", "refused", "not refused", "stalled", "harness")


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.done, self.failed, self.missed, self.skipped = Counter(), Counter(), Counter(), {}
        self.kills, self.stops, self.points, self.ends = Counter(), Counter(), Counter(), Counter()
        self.findings = []
        self.why_failed = {}
        self.events = self.delivered = self.applied = self.periods = self.ended_twice = 0
        self.stall = self.quiet_stall = 0.0
        self.recoveries = []

    def finding(self, kind, text):
        with self.lock:
            self.findings.append((kind, text))
        print(f"FINDING {kind}: {text}", flush=True)

    def count(self, counter, name):
        with self.lock:
            counter[name] += 1

    def killed(self, name):
        self.count(self.kills, name)

    def stopped(self, name):
        self.count(self.stops, name)

    def reached(self, point):
        self.count(self.points, point)

    def gave_up(self, name, status):
        self.count(self.ends, f"{name} exit {status}")

    def found(self, kind):
        return sum(found == kind for found, _ in self.findings)

    def nothing_happened(self):
        return not sum(self.done.values()) or not self.events or not self.delivered

    def ok(self):
        return not self.findings and not self.nothing_happened()

    def table(self, points):
        rows = [("cycles", self.periods), ("faults", sum(self.done.values())),
                ("SIGKILLs", f"{sum(self.kills.values())}  ({spread(self.kills)})"),
                ("SIGSTOPs", f"{sum(self.stops.values())}  ({spread(self.stops)})"),
                ("crash points reached", f"{len(self.points)} of {len(points)}, {sum(self.points.values())} times"),
                ("relays that gave up and were started again", spread(self.ends) or 0),
                ("Kafka transactions that were ended twice", self.ended_twice), ("events", self.events), ("delivered", self.delivered), ("applied", self.applied)]
        rows += [(kind, self.found(kind)) for kind in KINDS]
        rows += [("longest stall", f"{self.stall:.1f} s among faults, {self.quiet_stall:.1f} s in quiet"),
                 ("longest recovery", f"{max(self.recoveries, default=0):.1f} s after the faults ended")]
        lines = [f"{name:43} {value}" for name, value in rows]
        lines += ["", "fault                done  missed  failed"]
        for name in sorted({*self.done, *self.missed, *self.failed}):
            lines.append(f"{name:19}{self.done[name]:6}{self.missed[name]:8}{self.failed[name]:8}"
                         + (f"  {self.why_failed[name]}" if name in self.why_failed else ""))
        lines += [f"skipped {name}: {reason}" for name, reason in sorted(self.skipped.items())]
        if self.points:
            lines.append("crash points reached: " + spread(self.points))
        unreached = [point for point in points if point not in self.points]
        if unreached:
            lines.append("crash points not reached in this run: " + " ".join(unreached))
        return "\n".join(lines)


def spread(counter):
    return " ".join(f"{name} {count}" for name, count in sorted(counter.items()))
