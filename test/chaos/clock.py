"""A clock that jumps under one process and its children (libfaketime); monotonic clocks go on, as they do in reality."""
import os
import shutil

from support.process import temporary_folder

PRELOAD = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class Skipped(Exception):
    """This machine cannot do it."""


class Clock:
    """Start the process with `env`; then `jump("+1h")`. Stop it before this ends."""

    def __init__(self, user=None):
        if not os.path.exists(PRELOAD):
            raise Skipped("libfaketime is not installed")
        self.folder = temporary_folder("clock", user)
        self.jump("+0")
        self.env = {"LD_PRELOAD": PRELOAD, "FAKETIME_TIMESTAMP_FILE": str(self.folder / "time"), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def jump(self, offset):
        (self.folder / "time").write_text(offset + "\n")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.folder, ignore_errors=True)
