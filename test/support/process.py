"""Child processes that never outlive their test: stopped by pid, also when the test run itself is killed."""
import atexit
import ctypes
import os
import pwd
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
# May be a link out of a private home: see stage.sh.
STAGED_BIN = (TOP / os.environ.get("ONCE_STAGE", "build/stage")).resolve() / "bin"
RELAY = TOP / os.environ.get("ONCE_RELAY", "build/once-relay")
KEEP = os.environ.get("KEEP") == "1"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
_running = []
_folders = []


def server_user():
    """PostgreSQL refuses to run as root; then it runs as the user that Debian's package made."""
    return "postgres" if os.getuid() == 0 else None


# What a relay may take, in MB. A sanitizer's shadow and quarantine count as memory of the process: no limit for those.
RELAY_MB = float("inf") if "ONCE_RELAY" in os.environ else 100


def most_memory(pid):
    """Resident megabytes of a process when it had the most."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def temporary_folder(prefix, user=None):
    """Below /tmp and not $TMPDIR: unix socket paths are limited to 107 bytes."""
    owner = "keep" if KEEP else os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"pg_once_{prefix}_{owner}_", dir="/tmp"))
    if user:
        shutil.chown(folder, user, user)
    _folders.append(folder)
    return folder


def wait_until(what, condition, timeout, interval=0.02):
    """Returns the condition's first true value; a TimeoutError names what was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(interval)


class _Spawner(threading.Thread):
    """Starts every child: the kernel sends `on_death` when the *thread* that started a child ends, so it must be one
    that lives as long as this process, whatever thread asks."""

    def __init__(self):
        super().__init__(daemon=True)
        self.orders = queue.SimpleQueue()
        self.lock = threading.Lock()

    def popen(self, *words, **options):
        with self.lock:
            if self.ident is None:
                self.start()
        answer = queue.SimpleQueue()
        self.orders.put((words, options, answer))
        result = answer.get()
        if isinstance(result, Exception):
            raise result
        return result

    def run(self):
        while True:
            words, options, answer = self.orders.get()
            try:
                answer.put(subprocess.Popen(*words, **options))
            except Exception as error:
                answer.put(error)


_spawner = _Spawner()


class Process:
    """One child. `on_death` is the signal it gets when this process dies in whatever way."""

    def __init__(self, command, *, log, user=None, env=None, cwd=None, stdin=subprocess.DEVNULL, stdout=None,
                 on_death=signal.SIGKILL, keep=False):
        self.command = [str(word) for word in command]
        self.log_path = Path(log)
        account = pwd.getpwnam(user) if user else None
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}

        def prepare():
            if not keep:
                _libc.prctl(_PR_SET_PDEATHSIG, int(on_death))

        with open(self.log_path, "ab") as output:
            self.popen = _spawner.popen(
                self.command, stdin=stdin, stdout=output if stdout is None else stdout,
                stderr=output, env={**os.environ, **(env or {})}, cwd=cwd or "/tmp",
                start_new_session=True, preexec_fn=prepare, **identity)
        if not keep:
            _running.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def send(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def pause(self):
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def wait(self, timeout):
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {timeout} s: {' '.join(self.command[:3])}\n"
                               f"{self.log()[-3000:]}") from None

    def kill(self):
        self.send(signal.SIGKILL)
        self.popen.wait()
        if self in _running:
            _running.remove(self)

    def stop(self, number=signal.SIGTERM, timeout=10):
        """Asks, then insists. Returns the exit status."""
        self.resume()
        self.send(number)
        try:
            self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            pass
        self.kill()
        return self.popen.returncode


def running(pid):
    """False for a zombie too: nobody may be there to reap an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid):
    """Pids of direct children: a PostgreSQL backend is a process group of its own."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _remove_stale_folders():
    """Of test runs that were killed: the owner's pid stands in the name."""
    for folder in Path("/tmp").glob("pg_once_*_*_*"):
        owner = folder.name.split("_")[-2]
        if owner.isdigit() and not running(owner):
            shutil.rmtree(folder, ignore_errors=True)


def _leave_on_sigterm():
    """So that `timeout` and CI end a run as Ctrl-C does, with everything stopped."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


_remove_stale_folders()
_leave_on_sigterm()


@atexit.register
def _clean_up():
    for process in reversed(_running[:]):
        try:
            process.stop(signal.SIGTERM, timeout=3)
        except Exception:  # the next one must be stopped all the same
            process.kill()
    if not KEEP:
        for folder in _folders:
            shutil.rmtree(folder, ignore_errors=True)
