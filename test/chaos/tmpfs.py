"""A small file system of its own per server, so that a disk can be full without hurting anybody else.

Mounts live in a private mount namespace of this process and its children: nothing is left behind, however it ends.
"""
import ctypes
import os
import subprocess

from support.process import server_user

CLONE_NEWNS = 0x20000
SIZE = "600m"


class Tmpfs:
    def __init__(self):
        self.mounted = []
        self.reason = self._prepare()

    def _prepare(self):
        """None when it can be done, else why not."""
        if os.getuid() != 0:
            return "a small file system can be mounted by root alone"
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
            return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
        done = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, text=True, check=False)
        return f"mount: {done.stderr.strip()}" if done.returncode else None

    def mount(self, folder):
        if self.reason:
            return
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", folder],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            self.reason = f"mount: {done.stderr.strip()}"
            return
        if server_user():
            subprocess.run(["chown", server_user(), folder], check=True)
        self.mounted.append(folder)

    def holds(self, folder):
        return folder in self.mounted

    def close(self):
        for folder in self.mounted:
            subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
