#!/usr/bin/python3
"""make chaos [SEED=n] [MINUTES=m] [FAULTS=kind,track,…] [DRY=1]: the real system under faults, and what came of it.

The same seed gives the same plan of faults (DRY=1 prints it). Exit 0 only if something happened and nothing was found.
"""
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from chaos import content_faults, finale, plan, verdict  # noqa: E402,F401 (content_faults registers its faults)
from chaos.faults import DO, NotReached, Skipped  # noqa: E402
from chaos.system import System  # noqa: E402
from chaos.tally import Tally  # noqa: E402
from chaos.tmpfs import Tmpfs  # noqa: E402
from support.process import TOP, STAGED_BIN  # noqa: E402
from support.relay import crash_points, run_relay  # noqa: E402

STARTED = time.monotonic()
# I12: so long nothing may move once everything is healed: transactions of the dead time out (15 s), a silent holder of a
# lane loses it (15 s), brokers elect leaders. How long the backlog then takes is the machine's affair, up to a bound.
STALL_SECONDS = 60
RECOVERY_SECONDS = 300
CROWDED = 3000  # events published and not read, above which writers wait


def say(text):
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


class Runner:
    def __init__(self, chaos_plan, points, tmpfs):
        self.plan, self.points = chaos_plan, points
        self.tally = Tally()
        self.system = System(chaos_plan, self.tally, tmpfs)
        self.now = {}  # track -> the fault that is on
        self.late = 0
        self.over = threading.Event()

    def run(self):
        try:
            self._run()
        except Exception as error:  # the system did not get going again, or the harness is wrong: never a pass
            kind = "stalled" if isinstance(error, TimeoutError) else "harness"
            self.tally.finding(kind, "".join(traceback.format_exception(error)))
        finally:
            self.over.set()
            self._keep()
            self.system.stop()
            self.system.tmpfs.close()
        return self.tally

    def _run(self):
        system = self.system.start()
        say("three brokers, two databases, relays and writers start")
        system.births()
        sampler = threading.Thread(target=self._sample, daemon=True)
        sampler.start()
        for period in range(self.plan.periods):
            self._period(period)
            self.tally.periods += 1
        if self.plan.sweeps:
            self._sweep()
        say("all is healed; what was committed must become visible")
        try:
            system.settle()
        except TimeoutError as error:  # the checker says what is missing
            self.tally.finding("stalled", f"P26 {error}")
        self.over.set()
        sampler.join()
        system.end()
        self.history = verdict.collect(system)
        verdict.judge(system, self.history, self.tally)
        if self.plan.finale:
            say(f"what cannot be survived must be refused: {self.plan.finale}")
            finale.run(system, self.tally)

    def _period(self, period):
        self.quiet = False
        began = time.monotonic()
        until = began + self.plan.period_seconds * (1 - plan.QUIET)
        self.system.hurt()
        tracks = [threading.Thread(target=self._track, args=(period, track, began, until)) for track in plan.TRACKS]
        for thread in tracks:
            thread.start()
        for thread in tracks:
            thread.join()
        self.system.heal()
        self._recover(time.monotonic())
        self.quiet = True
        time.sleep(max(0.0, began + self.plan.period_seconds - time.monotonic()))

    def _recover(self, healed):
        mark = self.system.published() - len(self.system.kept) - 50  # not counting what only readers of mortal see
        before, moved = None, healed
        while min(now := (self.system.live.count(), self.system.applied())) < mark:
            if now != before:
                before, moved = now, time.monotonic()
            if time.monotonic() > min(moved + STALL_SECONDS, healed + RECOVERY_SECONDS):
                raise TimeoutError(f"I12 {time.monotonic() - healed:.0f} s after the last fault, {time.monotonic() - moved:.0f} s "
                                   f"after the last progress: published {mark}, read {now[0]}, applied {now[1]}")
            self.system.heal_dead_letters()
            time.sleep(0.3)
        self.tally.recoveries.append(time.monotonic() - healed)

    def _track(self, period, track, began, until):
        for step in self.plan.of(period, track):
            time.sleep(max(0.0, began + step.at - time.monotonic()))
            if time.monotonic() > until - 0.5:
                self.late += 1
                continue
            self.now[track] = step.kind
            self._do(step)
            self.now.pop(track, None)

    def _sweep(self):
        """The crash points that were not met among the faults, one by one on a system that is well."""
        self.quiet = False
        self.system.hurt()
        births = plan.BIRTHS["outbox"] + plan.BIRTHS["inbox"]
        for point in self.points:
            for attempt in range(3):
                if point in self.tally.points or point in births:
                    break
                kind = "crash_inbox" if point.startswith("inbox_") else "crash_outbox"
                self.now["sweep"] = point
                self._do(plan.Step(self.plan.periods, 0, kind, 15.0, (("nth", 1), ("point", point), ("which", attempt % 2))))
        self.now.pop("sweep", None)
        self.system.heal()
        self._recover(time.monotonic())

    def _do(self, step):
        try:
            DO[step.kind](self.system, step)
            self.tally.count(self.tally.done, step.kind)
        except NotReached:
            self.tally.count(self.tally.missed, step.kind)
        except Skipped as reason:
            self.tally.skipped[step.kind] = str(reason)
        except Exception as error:  # another fault was in the way: a broker that is down answers no admin
            self.tally.count(self.tally.failed, step.kind)
            self.tally.why_failed[step.kind] = f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0][:100]

    quiet = False

    def _sample(self):
        """Progress lines, and the longest time in which the live reader saw nothing though there was something."""
        seen, since, told = 0, time.monotonic(), 0.0
        while not self.over.wait(0.25):
            count, now = self.system.live.count(), time.monotonic()
            crowded = self.system.bank.crowded
            (crowded.set if self.system.bank.done - count > CROWDED else crowded.clear)()
            if count != seen or count >= self.system.bank.done:
                seen, since = count, now
            elif self.quiet:
                self.tally.quiet_stall = max(self.tally.quiet_stall, now - since)
            else:
                self.tally.stall = max(self.tally.stall, now - since)
            if now - told >= 5:
                told = now
                say(f"period {min(self.tally.periods + 1, self.plan.periods)}/{self.plan.periods}  "
                    f"faults {sum(self.tally.done.values()):4}  kills {sum(self.tally.kills.values()):4}  "
                    f"published {self.system.bank.done:6}  read {count:6}  "
                    f"{'quiet' if self.quiet else ' '.join(sorted(self.now.values()))}")

    def _keep(self):
        """What a finding is understood from: the logs of the relays and servers, and the history."""
        if self.tally.ok():
            return
        folder = TOP / f"build/chaos/seed{self.plan.seed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for daemon in self.system.daemons:
            for log in daemon.relay.folder.glob("*.log"):
                shutil.copy(log, folder / f"{daemon.name}-{log.name}")
        for cluster in (self.system.sender, self.system.receiver):
            if cluster and cluster.process:
                shutil.copy(cluster.process.log_path, folder / f"{cluster.folder.name}.log")
        if self.history:
            (folder / "history.pickle").write_bytes(pickle.dumps(self.history))
        say(f"logs and history are kept in {folder}")

    history = None

    def print_table(self):
        print()
        print(self.plan.header())
        print(versions())
        print(self.tally.table(self.points))
        if self.late:
            print(f"faults of the plan for which the time did not suffice: {self.late}")
        verdict_line = "nothing happened" if self.tally.nothing_happened() else (
            "no finding" if self.tally.ok() else f"{len(self.tally.findings)} findings")
        print(f"chaos: seed {self.plan.seed}: {verdict_line}", flush=True)


def versions():
    out = lambda *words: subprocess.run(words, capture_output=True, text=True, check=False, cwd=TOP).stdout.strip()
    relay = run_relay("--version")[1].replace("\n", " ").strip()
    commit = out("git", "rev-parse", "--short", "HEAD")
    return f"commit {commit} · {out(STAGED_BIN / 'postgres', '--version')} · Apache Kafka 4.1.0 · {relay}"


def main():
    tmpfs = Tmpfs()  # before anything is started: children must see the mounts
    seed = int(os.environ.get("SEED") or random.randrange(1 << 31))
    minutes = float(os.environ.get("MINUTES") or 5)
    faults = [name for name in (os.environ.get("FAULTS") or "").replace(",", " ").split()] or None
    points = crash_points()
    try:
        made = plan.make(seed, minutes * 60, points, faults)
    except ValueError as error:
        sys.exit(f"chaos: {error}")
    print(made.header(), flush=True)
    if os.environ.get("DRY"):
        print("\n".join(str(step) for step in made.steps))
        return
    runner = Runner(made, points, tmpfs)
    runner.run()
    runner.print_table()
    sys.exit(0 if runner.tally.ok() else 1)


if __name__ == "__main__":
    main()
