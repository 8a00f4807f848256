"""A clock that jumps under one process and its children (libfaketime); monotonic clocks go on, as they do in reality."""
import os
import shutil
import subprocess
from pathlib import Path

from support.process import temporary_folder

PRELOAD = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
SHIM = Path(__file__).resolve().parents[1] / "support/clock_shim.c"


class Skipped(Exception):
    """This machine cannot do it."""


class Clock:
    """Start the process with `env`; then `jump("+1h")`. Stop it before this ends."""

    def __init__(self, user=None):
        if not os.path.exists(PRELOAD):
            raise Skipped("libfaketime is not installed")
        self.folder = temporary_folder("clock", user)
        self.jump("+0")
        shim = self.folder / "shim.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, SHIM], check=True)
        # libfaketime asks for memory while jemalloc, which the relay is linked with, asks for the time: for ever. So it gets
        # the C library's allocator, by malloc and by new.
        self.env = {"LD_PRELOAD": f"{shim}:{PRELOAD}:libc.so.6:libstdc++.so.6", "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_TIMESTAMP_FILE": str(self.folder / "time"),
                    # Its repair of waits by the monotonic clock is for an older glibc: with it a JVM's end at once or late,
                    # and a broker does not come up.
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}

    @staticmethod
    def rules(pid):
        """Whether the process runs by such a clock at all."""
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            return "libfaketime" in maps.read()

    def jump(self, offset):
        (self.folder / "time").write_text(offset + "\n")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.folder, ignore_errors=True)
