"""PgBouncer, as Debian ships it, before a cluster: fewer server sessions than clients, on a loopback port."""
import os
import shutil
from pathlib import Path

import psycopg2

from .process import Process, free_port, server_user, temporary_folder, wait_until

# Put there by install.sh.
PROGRAM = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pg_once/pgbouncer/usr/sbin/pgbouncer"
SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {sessions}
ignore_startup_parameters = extra_float_digits
"""


class Pooler:
    def __init__(self, database, *, mode="transaction", sessions=2, users=("relay", "postgres")):
        self.database = database
        self.port = free_port()
        folder = temporary_folder("pooler", server_user())
        program = shutil.copy(PROGRAM, folder)  # the server's user may not enter a private home
        (folder / "users.txt").write_text("".join(f'"{user}" ""\n' for user in users))
        (folder / "pgbouncer.ini").write_text(SETTINGS.format(
            host=database.cluster.folder, port=database.cluster.port, own_port=self.port, users=folder / "users.txt",
            mode=mode, sessions=sessions))
        self.process = Process([program, folder / "pgbouncer.ini"], log=folder / "pgbouncer.log", user=server_user())
        try:
            wait_until("the pooler answers", self._ready, 30)
        except TimeoutError:
            self.close()
            raise RuntimeError(self.process.log()) from None

    def _ready(self):
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def dsn(self, user="relay"):
        return f"host=127.0.0.1 port={self.port} user={user} dbname={self.database.name}"

    def connect(self, user="postgres", autocommit=True):
        connection = psycopg2.connect(self.dsn(user))
        connection.autocommit = autocommit
        return connection

    def close(self):
        self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
