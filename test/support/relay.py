"""The relay under test as a process: started, killed, stopped by signals, its log and its HTTP page."""
import json
import signal
import urllib.error
import urllib.request

from .process import RELAY, Process, free_port, temporary_folder, wait_until

KILLED = -signal.SIGKILL


class Relay:
    """`once-relay outbox` with a database and brokers. Each start has a log file of its own."""

    def __init__(self, database, brokers, *arguments, env=None, lane=None, command="outbox", http=True):
        self.dsn = database if isinstance(database, str) else database.dsn()
        self.brokers = brokers
        self.arguments = [*arguments] + (["--lane", lane] if lane is not None else [])
        self.env = env or {}
        self.command = command
        self.http = http
        self.port = None
        self.folder = temporary_folder("relay")
        self.starts = 0
        self.process = None

    def start(self, *arguments, env=None):
        self.starts += 1
        self.port = free_port()
        words = [RELAY, self.command, "--database", self.dsn, "--brokers", self.brokers]
        words += ["--http", f"127.0.0.1:{self.port}"] if self.http else []
        self.process = Process([*words, *self.arguments, *arguments], log=self.folder / f"relay{self.starts}.log",
                               env={**self.env, **(env or {})})
        return self

    def run(self, *arguments, env=None, timeout=60):
        """To its end; returns the exit status (-9 when it was killed)."""
        return self.start(*arguments, env=env).process.wait(timeout)

    def drain(self, timeout=60):
        """Ships all there is; anything but a clean end shows the log."""
        status = self.run("--until-empty", timeout=timeout)
        assert status == 0, f"relay: exit {status}\n{self.log()[-4000:]}"

    def crash_at(self, point, nth=1, timeout=60):
        return self.run("--until-empty", env={"ONCE_CRASH_AT": f"{point}:{nth}"}, timeout=timeout)

    def log(self):
        return self.process.log()

    def alive(self):
        return self.process is not None and self.process.alive()

    def kill(self):
        self.process.kill()

    def stop(self, timeout=20):
        return self.process.stop(signal.SIGTERM, timeout)

    def get(self, path):
        """(status, body); status 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name, **labels):
        """The sum over all label sets of a metric that have `labels`, or None when there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = [line for line in self.get("/metrics")[1].splitlines()
                 if line.startswith((name + " ", name + "{")) and all(label in line for label in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines) if lines else None

    def state(self):
        """running, standby, blocked, …; None while nobody answers."""
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith("once_outbox_state{") and line.endswith(" 1"):
                return line.split('state="')[1].split('"')[0]
        return None

    def wait_state(self, state, timeout=30):
        try:
            return wait_until(f"the relay is {state}", lambda: self.state() == state, timeout, 0.1)
        except TimeoutError as late:
            raise TimeoutError(f"{late}, but {self.state()}\n{self.log()[-3000:]}") from None

    def wait_log(self, text, timeout=30):
        return wait_until(f"the relay's log says {text!r}\n{self.log()[-2000:]}", lambda: text in self.log(), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process:
            self.process.kill()


def run_relay(*arguments, env=None, timeout=30):
    """Any command line of once-relay to its end: (exit status, combined output)."""
    folder = temporary_folder("relay")
    process = Process([RELAY, *arguments], log=folder / "relay.log", env=env)
    return process.wait(timeout), process.log()


def crash_points():
    status, output = run_relay("--crash-points")
    assert status == 0, output
    return output.split()


def status_json(dsn, brokers):
    status, output = run_relay("status", "--json", "--database", dsn, "--brokers", brokers)
    assert status == 0, output
    return json.loads(output)
