"""A relay that is kept running, as systemd would: started again when it ended, its ends counted and judged."""
import signal
import threading
import time

from support.relay import KILLED

# 4 and 5: no database or no broker when it started; systemd starts it again. Anything else but 0 after SIGTERM is a bug.
GAVE_UP = (4, 5)


class Daemon:
    """`name` is outbox-0, …; `tally` is told of kills, ends and crash points reached."""

    def __init__(self, name, relay, tally):
        self.name, self.relay, self.tally = name, relay, tally
        self.lock = threading.RLock()
        self.wanted = False
        self.not_before = 0.0
        self.next_envs = []  # of the next starts
        self.point = None  # the crash point that the running process is to die at
        self.crashed = threading.Event()
        self.paused = False

    def up(self):
        with self.lock:
            self.wanted = True
            self.watch()

    def watch(self):
        """Called several times a second: sees that it ended, and starts it when it is time."""
        with self.lock:
            process = self.relay.process
            if process and not process.alive() and self.running:
                self.running = False
                self._ended(process.popen.returncode)
            if self.wanted and not self.running and time.monotonic() >= self.not_before:
                env = self.next_envs.pop(0) if self.next_envs else {}
                self.point = env.get("ONCE_CRASH_AT")
                self.crashed.clear()
                self.relay.start(env=env)
                self.running = True
                self.not_before = time.monotonic() + 0.3

    running = False

    def _ended(self, status):
        self.paused = False
        if status == KILLED and self.point:
            self.tally.reached(self.point.split(":")[0])
            self.tally.killed(self.name)
            self.crashed.set()
        elif status in GAVE_UP:
            self.tally.gave_up(self.name, status)
        else:
            self.tally.finding("refused", f"{self.name} ended with {status}\n{self.relay.log()[-1500:]}")
        self.point = None

    def kill(self, down=0.0, env=None):
        with self.lock:
            self.watch()
            self.not_before = time.monotonic() + down
            self.next_envs = [env] if env else []
            if not self.running:
                return
            self.relay.kill()
            self.tally.killed(self.name)
            self.running, self.point, self.paused = False, None, False
            self.watch()

    def terminate(self):
        """SIGTERM, and a clean end within its deadline."""
        with self.lock:
            self.watch()
            if not self.running:
                return
            self.paused = False
            started = time.monotonic()
            status = self.relay.stop(timeout=25)
            self.running, self.point = False, None
            if status == -signal.SIGTERM and not self.relay.log():
                status = 0  # it had not come so far as to listen to signals
            if status not in (0, *GAVE_UP):
                self.tally.finding("refused", f"{self.name}: SIGTERM after {time.monotonic() - started:.1f} s: status "
                                              f"{status}\n{self.relay.log()[-1500:]}")
            self.watch()

    def pause(self):
        with self.lock:
            if self.running:
                self.relay.process.pause()
                self.paused = True
                self.tally.stopped(self.name)

    def resume(self):
        with self.lock:
            if self.paused:
                self.relay.process.resume()
                self.paused = False

    def down(self):
        with self.lock:
            self.wanted = False
            if self.running:
                self.resume()
                self.terminate()
