"""A private PostgreSQL cluster on the staged server: unix socket, loopback port, a folder that is removed."""
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import psycopg2

from .process import (STAGED_BIN, Process, children_of, free_port, running, server_user, temporary_folder,
                      wait_until)

# fsync off: kill -9 of a process loses nothing that was written to the kernel, and no test pulls the plug.
SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
max_prepared_transactions = 50
max_connections = 200
max_wal_senders = 8
wal_level = replica
hot_standby = on
log_line_prefix = '%m [%p] %a %d '
"""
RELAY_ROLE = "relay"


def run_as_server(*command, **options):
    """One server program (initdb, pg_basebackup, …) to its end; its output is shown when it fails."""
    user = server_user()
    words = (["runuser", "-u", user, "--"] if user else []) + [str(word) for word in command]
    done = subprocess.run(words, cwd="/tmp", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class Cluster:
    def __init__(self, settings="", *, name="cluster", keep=False, programs=STAGED_BIN):
        self.keep = keep
        self.programs = programs
        self.folder = temporary_folder(name, server_user())
        self.data = self.folder / "data"
        self.port = free_port()
        self.settings = settings
        self.process = None

    def create(self):
        run_as_server(self.programs / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                      "--locale=C.UTF-8", "--no-sync")
        self._write_settings()
        return self

    def copy_of(self, primary, *, standby=True, name="standby", synchronous=False):
        """A base backup of `primary`: a streaming standby, or (standby=False) a restored clone."""
        run_as_server(self.programs / "pg_basebackup", "-D", self.data, "-h", primary.folder, "-p", primary.port,
                      "-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync")
        self._write_settings()
        if standby:
            signal_file = self.data / "standby.signal"
            signal_file.touch()
            if server_user():
                shutil.chown(signal_file, server_user())
            self.configure(f"primary_conninfo = 'host={primary.folder} port={primary.port} user=postgres "
                           f"application_name={name}'")
        if synchronous:
            primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
            primary.execute("SELECT pg_reload_conf()")
        return self

    def _write_settings(self):
        self.configure(f"{SETTINGS}port = {self.port}\nunix_socket_directories = '{self.folder}'\n{self.settings}")

    def configure(self, lines):
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("\n" + lines + "\n")

    def start(self, timeout=60, env=None):
        # SIGQUIT is the immediate shutdown: what the server gets should the test run die.
        self.process = Process([self.programs / "postgres", "-D", self.data], log=self.folder / "server.log",
                               user=server_user(), on_death=signal.SIGQUIT, keep=self.keep, env=env)
        wait_until("the server accepts connections", self._ready, timeout, 0.05)
        return self

    def _ready(self):
        if not self.process.alive():
            raise RuntimeError(f"the server did not start:\n{self.process.log()[-3000:]}")
        try:
            self.connect().close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, mode="fast", timeout=60):
        number = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "smart": signal.SIGTERM}[mode]
        self.process.stop(number, timeout)

    def kill(self):
        """kill -9 of the postmaster and every backend: what an OOM killer or a power cut does to memory."""
        victims = children_of(self.process.pid)
        self._signal_all(signal.SIGKILL)
        self.process.kill()
        wait_until("every backend is gone", lambda: not any(map(running, victims)), 10)

    def pause(self):
        """SIGSTOP to every process: a standby that receives nothing, a primary that hangs."""
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        for pid in [self.process.pid, *children_of(self.process.pid)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def promote(self):
        self.execute("SELECT pg_promote(true, 60)")
        wait_until("the standby is promoted", lambda: not self.query("SELECT pg_is_in_recovery()")[0][0], 60)

    def dsn(self, database="postgres", user="postgres", tcp=False):
        host = "127.0.0.1" if tcp else self.folder
        return f"host={host} port={self.port} user={user} dbname={database}"

    def connect(self, database="postgres", user="postgres", autocommit=True, **options):
        connection = psycopg2.connect(self.dsn(database, user), **options)
        connection.autocommit = autocommit
        return connection

    @contextmanager
    def session(self, database="postgres", autocommit=True):
        connection = self.connect(database, autocommit=autocommit)
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def execute(self, statement, parameters=None, database="postgres"):
        with self.session(database) as cursor:
            cursor.execute(statement, parameters)

    def query(self, statement, parameters=None, database="postgres"):
        with self.session(database) as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def create_database(self, name, extension=True):
        """A database of its own with the extension: never by TEMPLATE, which copies the incarnation."""
        self.execute(f'CREATE DATABASE "{name}"')
        if extension:
            self.execute(f"DO $$ BEGIN CREATE ROLE {RELAY_ROLE} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
            self.execute("CREATE EXTENSION pg_once", database=name)
            self.execute(f"SELECT once.grant_relay('{RELAY_ROLE}')", database=name)
        return Database(self, name)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process and not self.keep:
            self.stop("immediate")


@contextmanager
def reindexing(cluster, database, table):
    """REINDEX TABLE CONCURRENTLY; inside, the new indexes are complete and wait until an old snapshot is given back."""
    with cluster.session(database, autocommit=False) as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        reindex = threading.Thread(target=lambda: cluster.execute(f"REINDEX TABLE CONCURRENTLY {table}", database=database))
        reindex.start()
        wait_until("the new index waits for old snapshots", lambda: cluster.query(
            "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'")[0][0], 30, 0.01)
        yield
    reindex.join(30)
    assert not reindex.is_alive()


def move_near_wrap(cluster):
    """2,000 transactions before their 32-bit numbers begin again (P20). Rows of initdb must be frozen, or they would
    lie in the future; the status of the transactions that are skipped is a file of zeroes."""
    cluster.start()
    for database in ("template1", "postgres"):
        cluster.execute("VACUUM FREEZE", database=database)
    cluster.stop()
    run_as_server(STAGED_BIN / "pg_resetwal", "-x", str(2**32 - 2000), "-D", cluster.data)
    segment = cluster.data / "pg_xact" / "0FFF"
    segment.write_bytes(bytes(256 * 1024))
    if server_user():
        shutil.chown(segment, server_user(), server_user())


class Database:
    """One database of a cluster, as tests use it."""

    def __init__(self, cluster, name):
        self.cluster = cluster
        self.name = name

    def dsn(self, user=RELAY_ROLE, **options):
        return self.cluster.dsn(self.name, user, **options)

    def connect(self, **options):
        return self.cluster.connect(self.name, **options)

    def session(self, **options):
        return self.cluster.session(self.name, **options)

    def execute(self, statement, parameters=None):
        self.cluster.execute(statement, parameters, self.name)

    def query(self, statement, parameters=None):
        return self.cluster.query(statement, parameters, self.name)

    def value(self, statement, parameters=None):
        return self.query(statement, parameters)[0][0]

    def wait_for(self, what, statement, timeout=30):
        return wait_until(what, lambda: self.value(statement), timeout, 0.05)

    def drop(self):
        for _ in range(20):
            try:
                self.cluster.execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
                return
            except psycopg2.Error:
                time.sleep(0.1)
