"""The process beside its work: signals, a reader of stderr that stops, HTTP clients that hang, limits of the system."""
import json
import os
import resource
import signal
import socket
import subprocess
import time

import pytest
from support.database_proxy import DatabaseProxy
from support.postgres import RELAY_ROLE
from support.process import RELAY, free_port, wait_until
from support.relay import run_relay

USAGE, CONFIGURATION, KAFKA = 1, 2, 5


def command(world, *arguments):
    return [str(word) for word in (RELAY, "outbox", "--database", world.database.dsn(), "--brokers", world.kafka.brokers,
                                   "--set", f"outbox.position_topic={world.position_topic}", *arguments)]


def hanging_client(port):
    """A request that never ends, a byte now and then."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    return client


@pytest.mark.long
def test_RE6_a_reader_of_stderr_that_stopped_reading_stops_nothing(world):
    """A log shipper hangs: what does not fit is dropped and counted; delivery and SIGTERM do not wait for it."""
    reading, writing = os.pipe()
    filler = b"x" * 65536
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, filler)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    port = free_port()
    compacted = world.topic("compacted", 1, **{"cleanup.policy": "compact"})
    with subprocess.Popen(command(world, "--http", f"127.0.0.1:{port}"), stderr=writing) as relay:
        os.close(writing)
        world.publish(compacted, "refused")  # brokers refuse it: there is something to log
        for _ in range(20):
            world.publish(f"{world.name}.orders", "x", "k")
        wait_until("the good ones", lambda: len(world.messages(f"{world.name}.orders")) == 20, 60, 0.2)
        began = time.monotonic()
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(20) == 0 and time.monotonic() - began < 13
    os.close(reading)


def test_RE10_a_client_that_hangs_does_not_keep_the_process(world):
    relay = world.relay().start()
    relay.wait_state("running")
    clients = [hanging_client(relay.port) for _ in range(20)]
    idle = [socket.create_connection(("127.0.0.1", relay.port)) for _ in range(20)]
    began = time.monotonic()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert relay.get(path)[0] == 200
    assert time.monotonic() - began < 1, "kubelet's default"
    assert relay.stop(timeout=20) == 0
    for client in clients + idle:
        client.close()


def test_RE10_a_refusal_is_told_while_a_client_hangs(world):
    """No broker answers: exit 5. The client is there before, and longer."""
    port = free_port()
    relay = world.relay(brokers=f"127.0.0.1:{free_port()}", http=False)
    relay.start("--http", f"127.0.0.1:{port}", "--set", "outbox.request_timeout_ms=3000")
    wait_until("it listens", lambda: "http_listening" in relay.log(), 30)
    client = hanging_client(port)
    assert relay.process.wait(30) == KAFKA
    assert "could not reach Kafka" in relay.log()
    client.close()


def test_RE15_no_threads_to_be_had_is_said(world):
    """As a container's pids.max does. For root there is no such limit."""
    if os.getuid() != 0:
        pytest.skip("asks for a user of its own")
    world.database.execute("SELECT once.set_lanes(16)")
    for threads in (2, 10, 25, 40):
        done = subprocess.run(["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all",
                               "prlimit", f"--nproc={threads}", *command(world, "--until-empty")],
                              capture_output=True, timeout=90, check=False, text=True)
        assert done.returncode in (0, 4, 5, 70), (threads, done.returncode, done.stderr[-2000:])
        assert "terminate called" not in done.stderr and (done.returncode == 0 or "once-relay: " in done.stderr), done.stderr[-2000:]


def test_RE17_nohup_and_a_log_rotation_do_not_end_it(world):
    relay = world.relay().start()
    relay.wait_state("running")
    relay.process.send(signal.SIGHUP)
    time.sleep(1)  # an end would have come by then
    assert relay.alive()
    assert relay.stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="needs a process namespace")
def test_RE17_as_pid_1_a_second_signal_ends_it_at_once(world):
    """The kernel does not end PID 1 by a signal's default."""
    wire = DatabaseProxy(world.cluster.port)
    words = command(world)
    words[words.index("--database") + 1] = wire.dsn(world.database.name, RELAY_ROLE)
    with subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", *words], stderr=subprocess.PIPE, text=True) as parent:
        for line in parent.stderr:
            if "lane_running" in line:
                break
        wire.stall()
        children = f"/proc/{parent.pid}/task/{parent.pid}/children"
        inner = int(open(children, encoding="ascii").read().split()[0])
        os.kill(inner, signal.SIGTERM)
        time.sleep(0.5)  # two signals at once are one
        began = time.monotonic()
        os.kill(inner, signal.SIGTERM)
        assert parent.wait(20) == 128 + signal.SIGTERM and time.monotonic() - began < 2
    wire.close()


def test_RE17_a_lane_that_is_named_twice_is_one(world):
    relay = world.relay("--lane", "0", "--lane", "0").start()
    relay.wait_state("running")
    assert "standby" not in relay.log()
    assert relay.stop() == 0


def test_RE17_a_refusal_whose_reader_has_gone_keeps_its_exit_code():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([str(RELAY), "outbox", "--set", "outbox.max_rows=none"], stderr=writing, check=False, timeout=30)
    os.close(writing)
    assert done.returncode == CONFIGURATION


def test_RE19_the_soft_limit_of_descriptors_is_raised(world):
    relay = world.relay()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        relay.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    relay.wait_state("running")
    assert resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE)[0] == hard
    assert relay.stop() == 0


def test_RE19_too_few_descriptors_are_said(world):
    done = subprocess.run(["prlimit", "--nofile=80:80", *command(world, "--until-empty")], capture_output=True, timeout=60, check=False,
                          text=True)
    assert "descriptors_short" in done.stderr and "ulimit -n" in done.stderr, done.stderr


def test_RE10_a_port_that_is_taken_is_still_refused(world):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        status, output = run_relay("outbox", "--database", world.database.dsn(), "--brokers", world.kafka.brokers, "--http",
                                   f"127.0.0.1:{port}")
    assert status == CONFIGURATION and "could not listen on" in output


def test_log_format_json_makes_each_line_an_object_the_refusal_too(world):
    world.publish_bulk(next(iter(world.topics)), 3)
    relay = world.relay("--set", "log.format=json")
    relay.drain()
    events = [json.loads(line) for line in relay.log().splitlines()]
    assert {"started", "lane_acquired", "lane_running", "ended"} <= {event["event"] for event in events}
    [end] = [event for event in events if event["event"] == "ended"]
    assert (end["level"], end["command"], end["exit_code"]) == ("info", "outbox", 0) and end["time"].endswith("Z")
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        status, output = run_relay("outbox", "--database", world.database.dsn(), "--brokers", world.kafka.brokers, "--http",
                                   f"127.0.0.1:{port}", "--set", "log.format=json")
    [refusal] = [json.loads(line) for line in output.splitlines()]
    assert status == CONFIGURATION == refusal["exit_code"] and "could not listen on" in refusal["message"] and refusal["hint"]


def test_systemd_is_told_that_it_is_up_what_it_does_and_that_it_ends(world, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(30)
        relay = world.relay(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"}).start()
        told = [dict(line.split("=", 1) for line in supervisor.recv(4096).decode().splitlines())]
        assert told[0]["READY"] == "1", told
        while told[-1]["STATUS"] != "ready":
            told.append(dict(line.split("=", 1) for line in supervisor.recv(4096).decode().splitlines()))
        assert told[-1]["WATCHDOG"] == "1"
        os.kill(relay.process.pid, signal.SIGTERM)
        while "STOPPING" not in told[-1]:
            told.append(dict(line.split("=", 1) for line in supervisor.recv(4096).decode().splitlines()))
        assert relay.process.wait(20) == 0
