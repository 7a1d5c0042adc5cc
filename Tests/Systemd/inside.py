"""The tests, run inside the throw-away machine on the installed package, in this order. Tests/Systemd/run.py starts it.

Each is a sentence. One that fails is told with what it saw, and the others run on.
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
import traceback

from support import *

TESTS = []
FIGURES = []


def test(function):
    TESTS.append(function)
    return function


def figure(text):
    FIGURES.append(text)
    print(f"    {text}", flush=True)


SERVICES = [unit(d) for d in DAEMONS] + ["leasehold-publisher.service", "leasehold-asset-cache.service", "leasehold-worker@.service"]


# --- The units as they are written -------------------------------------------------------------------------------------------------
@test
def systemd_finds_nothing_wrong_with_the_units():
    shipped = sorted(p.name for p in pathlib.Path("/usr/lib/systemd/system").glob("leasehold*"))
    assert len(shipped) > 15, shipped
    names = [n.replace("@.", "@pool-1.") for n in shipped]
    said = run("systemd-analyze", "verify", *names, check=False, timeout=60)
    assert said.returncode == 0 and not said.stdout.strip(), said.stdout


@test
def every_unit_is_exposed_to_two_of_ten_at_most():
    for name in SERVICES:
        text = run("systemd-analyze", "security", "--offline=yes", "--no-pager", f"/usr/lib/systemd/system/{name}", check=False).stdout
        level = float(re.search(r"exposure level for \S+: ([0-9.]+)", text).group(1))
        figure(f"exposure {name} {level}")
        assert level <= 2.0, text


STANDARD = """CapabilityBoundingSet DevicePolicy IPAddressDeny KeyringMode LockPersonality MemoryDenyWriteExecute NoNewPrivileges
PrivateDevices PrivateIPC PrivateMounts PrivateNetwork PrivateTmp PrivateUsers ProcSubset ProtectClock ProtectControlGroups ProtectHome
ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem RemoveIPC RestrictAddressFamilies
RestrictNamespaces RestrictRealtime RestrictSUIDSGID SystemCallArchitectures SystemCallFilter UMask""".split()


@test
def each_standard_hardening_key_is_set_or_left_out_with_a_reason_in_sorted_order():
    for name in SERVICES:
        part = pathlib.Path("/usr/lib/systemd/system", name).read_text().split("# Hardening", 1)[1]
        keys = re.findall(r"^(?:# )?([A-Z][A-Za-z]+)(?:=|(?:, [A-Za-z]+)*: left out, because)", part, re.MULTILINE)
        assert keys == sorted(keys), f"{name}: {keys}"
        missing = [k for k in STANDARD if k not in keys]
        assert not missing, f"{name} says nothing of {missing}"


# --- Start -------------------------------------------------------------------------------------------------------------------------
@test
def the_first_connection_starts_the_dispatcher():
    configure(pools())
    run("leasehold", "check", "--quiet")
    run("systemctl", "enable", "--now", "leasehold.target")
    ready("watcher", "pool-keeper", "scaler")
    assert show(unit("dispatcher"), "ActiveState") == "inactive"
    status, headers = get()
    assert status == 200 and headers["Leasehold-Lease"].startswith("my-pool/"), (status, headers)
    ready()
    text = run("leasehold", "show", "processes").stdout
    for name in DAEMONS:
        assert re.search(rf"^{name}\s.*\bready\b", text, re.MULTILINE), text


@test
def the_order_of_starting_does_not_matter():
    for order in (["dispatcher", "scaler", "pool-keeper", "watcher"], ["scaler", "watcher", "dispatcher", "pool-keeper"]):
        # Nobody holds anything: then nobody is waited for afterwards. (A lease that is open when both stop is: docs/architecture.md.)
        until("no lease", lambda: '"demand":0' in run("leasehold", "show", "pools", "--json").stdout.replace(" ", ""))
        run("systemctl", "stop", *[unit(d) for d in DAEMONS])
        for name in order:
            run("systemctl", "start", unit(name))
        assert get()[0] == 200


@test
def a_dispatcher_that_stops_while_the_pool_keeper_starts_is_not_waited_for():
    configure(pools())
    run("systemctl", "start", "leasehold.target", "leasehold-dispatcher-http.socket", unit("dispatcher"))
    ready()
    until("no lease", lambda: '"demand":0' in run("leasehold", "show", "pools", "--json").stdout.replace(" ", ""))
    with dropin(unit("pool-keeper"), "[Service]\nExecStartPre=/bin/sleep 3\n"):
        place = cursor()
        run("systemctl", "--no-block", "restart", unit("pool-keeper"))
        # It has said hello to the socket, behind which nobody is yet.
        until("the dispatcher misses it", lambda: journal(place, "_SYSTEMD_UNIT=" + unit("dispatcher"), "MESSAGE_ID=" + message_id("linkDown")))
        until("the pool-keeper starts", lambda: show(unit("pool-keeper"), "SubState") == "start-pre")
        run("systemctl", "stop", unit("dispatcher"))
    assert get()[0] == 200
    ready()


@test
def every_daemon_has_its_own_user_and_no_rights():
    users = set()
    for name in DAEMONS:
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid(name)}/status").read_text().splitlines() if ":\t" in line)
        uid = int(status["Uid"].split()[0])
        users.add(uid)
        assert uid != 0 and run("id", "--user", f"leasehold-{name}").stdout.strip() == str(uid)
        for right in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
            assert int(status[right], 16) == 0, f"{name}: {right} {status[right]}"
        assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2", name
    assert len(users) == len(DAEMONS)
    for worker in run("systemctl", "list-units", "--plain", "--no-legend", "leasehold-worker@*").stdout.splitlines():
        process = show(worker.split()[0], "MainPID")
        assert run("stat", "--format=%U", f"/proc/{process}").stdout.strip() == "leasehold-worker"
    assert run("id", "--name", "--groups", "leasehold-worker").stdout.split() == ["leasehold-worker"]


@test
def no_library_comes_from_a_toolchain():
    for name in DAEMONS:
        files = set(re.findall(r"(/\S+\.so\S*)", pathlib.Path(f"/proc/{pid(name)}/maps").read_text()))
        swift = {f for f in files if "swift" in f or "Foundation" in f or "dispatch" in f}
        assert len(swift) > 5 and all(f.startswith("/usr/lib/leasehold/") for f in swift), swift
        assert all(f.startswith(("/usr/lib/", "/lib/")) for f in files), files


# --- Edges -------------------------------------------------------------------------------------------------------------------------
CONNECT = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect(sys.argv[1])
print(repr(s.recv(65536)))
"""


@test
def each_edge_lets_in_its_own_users_and_refuses_all_others():
    users = [f"leasehold-{d}" for d in DAEMONS] + ["leasehold-publisher", "leasehold-worker", "nobody"]
    for edge, rule in EDGES.items():
        path = f"/run/leasehold/{edge}.sock"
        for user in users:
            tried = as_user(user, "/usr/bin/python3", "-c", CONNECT, path)
            expected = user in rule["users"]
            assert (tried.returncode == 0) == expected, f"{user} on {edge}: {tried.stdout}"
            if not expected:
                assert "PermissionError" in tried.stdout, tried.stdout
        # The second door: somebody made the socket open to all.
        pathlib.Path(path).chmod(0o666)
        for user in users:
            said = as_user(user, "/usr/bin/python3", "-c", CONNECT, path).stdout
            expected = user in rule["users"] + [f"leasehold-{rule['server']}"]
            assert ("may not use this edge" not in said) == expected, f"{user} on the open {edge}: {said}"
        pathlib.Path(path).chmod(0o660)


@test
def looking_and_changing_need_their_groups():
    show_pools, pause, resume = ["leasehold", "show", "pools"], ["leasehold", "pause", "my-pool"], ["leasehold", "resume", "my-pool"]
    assert as_user("nobody", *show_pools).returncode == 77
    looking = as_user("nobody", *show_pools, groups="leasehold-control")
    assert looking.returncode == 0 and "my-pool" in looking.stdout, looking.stdout
    refused = as_user("nobody", *pause, groups="leasehold-control")
    assert refused.returncode == 77 and "leasehold-admin" in refused.stdout, refused.stdout
    assert journal("MESSAGE_ID=" + message_id("notPermitted"))
    for verb in (pause, resume):
        done = as_user("nobody", *verb, groups="leasehold-control,leasehold-admin")
        assert done.returncode == 0, done.stdout


# --- The journal -------------------------------------------------------------------------------------------------------------------
@test
def the_journal_has_fields_ids_and_explanations():
    place = cursor()
    pool, lease = get()[1]["Leasehold-Lease"].split("/")
    entry = until("the job's line", lambda: journal(place, f"LEASEHOLD_POOL={pool}", f"LEASEHOLD_LEASE={lease}"))[0]
    assert entry["MESSAGE_ID"] == message_id("jobEnded") and entry["LEASEHOLD_POOL"] == "my-pool", entry
    assert entry["LEASEHOLD_ENDPOINT"] and entry["LEASEHOLD_REASON"] == "served" and entry["LEASEHOLD_JOB"], entry
    assert entry["_SYSTEMD_UNIT"] == unit("dispatcher") and entry["PRIORITY"] == "6" and entry["CODE_FILE"], entry
    for daemon in DAEMONS:
        assert journal(f"_SYSTEMD_UNIT={unit(daemon)}", "MESSAGE_ID=" + message_id("ready")), daemon
    explained = run("journalctl", "--catalog", "--no-pager", f"LEASEHOLD_LEASE={lease}").stdout
    assert "A job ended, or was refused" in explained and "log-jobs" in explained, explained
    for line in journal("_COMM=leasehold-scale", "_COMM=leasehold-dispa", "_COMM=leasehold-pool-", "_COMM=leasehold-watch"):
        assert int(line["PRIORITY"]) > 5 or "MESSAGE_ID" in line, line


@test
def leasehold_logs_finds_one_job_in_the_journal():
    place = cursor()
    leases = [get()[1]["Leasehold-Lease"] for _ in range(3)]
    entries = [until("the job's line", lambda: journal(place, "LEASEHOLD_LEASE=" + lease.split("/")[1]))[0] for lease in leases]
    jobs = [entry["LEASEHOLD_JOB"] for entry in entries]
    assert len(set(jobs)) == 3, jobs

    def logs(*words):
        return [json.loads(line) for line in run("leasehold", "logs", "--json", *words).stdout.splitlines() if line.startswith("{")]

    for entry, job, lease in zip(entries, jobs, leases):
        found = logs("--job", job)
        assert [line["__CURSOR"] for line in found] == [entry["__CURSOR"]], found
        assert found[0]["LEASEHOLD_LEASE"] == lease.split("/")[1] and found[0]["LEASEHOLD_RESULT"] == "served", found
        assert [line["LEASEHOLD_JOB"] for line in logs("--lease", lease) if "LEASEHOLD_RESULT" in line] == [job]
    text = run("leasehold", "logs", "--job", jobs[1]).stdout
    assert text.count("A job ended") == 1, text
    # As somebody who may only look.
    seen = as_user("nobody", "leasehold", "logs", "--job", jobs[1], groups="systemd-journal,leasehold-control")
    assert seen.returncode == 0 and "A job ended" in seen.stdout, seen.stdout


@test
def a_reload_is_a_hangup_and_a_wrong_configuration_is_refused():
    place = cursor()
    before = [pid(d) for d in DAEMONS]
    configure(pools(maximum=5))
    run("systemctl", "reload", *[unit(d) for d in DAEMONS])
    for daemon in DAEMONS:
        until(f"{daemon} says that it reloaded", lambda: journal(place, f"_SYSTEMD_UNIT={unit(daemon)}", "MESSAGE_ID=" + message_id("reloaded")))
    place = cursor()
    configure(pools() + "nonsense: 1\n")
    run("systemctl", "reload", *[unit(d) for d in DAEMONS])
    for daemon in DAEMONS:
        until(f"{daemon} refuses", lambda: journal(place, f"_SYSTEMD_UNIT={unit(daemon)}", "MESSAGE_ID=" + message_id("reloadRefused")))
    configure(pools())
    run("systemctl", "reload", *[unit(d) for d in DAEMONS])
    assert [pid(d) for d in DAEMONS] == before and get()[0] == 200


@test
def a_socket_that_the_configuration_does_not_name_is_a_configuration_error():
    extra = pathlib.Path("/run/systemd/system/leasehold-dispatcher-extra.socket")
    extra.write_text("[Unit]\nPartOf=leasehold.target\n[Socket]\nListenStream=127.0.0.1:8099\nFileDescriptorName=extra\nService=leasehold-dispatcher.service\n")
    run("systemctl", "daemon-reload")
    place = cursor()
    run("systemctl", "stop", unit("dispatcher"))
    run("systemctl", "start", extra.name)
    assert try_connect(("127.0.0.1", 8099), socket.SOCK_STREAM) is None
    # The waiting connection starts it again at once: its exit stands in the journal, and in the unit for a moment only.
    until("it ends with 78", lambda: journal(place, "UNIT=" + unit("dispatcher"), "EXIT_STATUS=78"))
    said = until("the reason", lambda: journal(place, "MESSAGE_ID=" + message_id("unknownSocket")))
    assert said[0]["LEASEHOLD_SOCKETS"] == "extra", said
    run("systemctl", "stop", extra.name)
    extra.unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed", unit("dispatcher"))
    assert get()[0] == 200
    ready()


# --- The publisher -----------------------------------------------------------------------------------------------------------------
def published(path):
    """Status and text; None while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", 9808, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return None
    finally:
        connection.close()


def keda_is_greeted():
    """Whether a server of HTTP/2 answers where KEDA asks: its first frame is SETTINGS."""
    with socket.create_connection(("127.0.0.1", 9809), timeout=PATIENCE) as caller:
        caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        return caller.recv(9)[3:4] == b"\4"


@test
def the_publisher_hears_everybody_and_nobody_else_hears_them():
    run("systemctl", "stop", "leasehold.target")
    configure(pools() + "publisher: { keda: {} }\n")
    run("systemctl", "start", "leasehold.target")
    run("systemctl", "enable", "--now", "leasehold-publisher.socket", "leasehold-publisher-keda.socket", unit("publisher"))
    assert get()[0] == 200
    names = [*DAEMONS, "publisher"]
    lines = [f'leasehold_process_up{{process="{name}"}} 1' for name in names]
    until("every process is heard", lambda: all(line in published("/metrics")[1].splitlines() for line in lines))
    until("it is ready", lambda: published("/readyz")[0] == 200)
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid('publisher')}/status").read_text().splitlines() if ":\t" in line)
    assert status["CapEff"].strip("0 ") == "" and status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    assert int(status["Uid"].split()[0]) == int(run("id", "--user", "leasehold-publisher").stdout)
    for user in ("leasehold-dispatcher", "leasehold-worker", "nobody"):
        for name in names:
            tried = as_user(user, "/usr/bin/python3", "-c", CONNECT, f"/run/leasehold/vitals/{name}.sock")
            assert tried.returncode != 0 and "PermissionError" in tried.stdout, f"{user} on the vitals of {name}: {tried.stdout}"
    # Its socket outlives it: whoever asks meanwhile waits.
    former = pid("publisher")
    run("systemctl", "kill", "--signal=KILL", "--kill-who=main", unit("publisher"))
    assert published("/healthz") == (200, "ok\n")
    assert keda_is_greeted()
    assert pid("publisher") != former
    # Stopped for longer than its watchdog: nobody minds.
    run("systemctl", "kill", "--signal=STOP", "--kill-who=main", unit("publisher"))
    assert all(get()[0] == 200 for _ in range(20))
    until("its watchdog has replaced it", lambda: show(unit("publisher"), "ActiveState") == "active" and published("/healthz") == (200, "ok\n"), 60)
    run("systemctl", "disable", "--now", "leasehold-publisher.socket", "leasehold-publisher-keda.socket", unit("publisher"))
    run("systemctl", "stop", "leasehold.target")
    configure(pools())
    run("systemctl", "start", "leasehold.target")
    assert get()[0] == 200
    ready()


def asked_over_tls(path):
    """Status and text at the External Metrics API's own address."""
    context = ssl._create_unverified_context()
    connection = http.client.HTTPSConnection("127.0.0.1", 9443, timeout=PATIENCE, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@test
def the_external_metrics_api_has_a_socket_of_its_own():
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=external-metrics",
        "-keyout", "/etc/leasehold/external-metrics.key", "-out", "/etc/leasehold/external-metrics.crt")
    run("chown", "leasehold-publisher", "/etc/leasehold/external-metrics.key")
    run("systemctl", "stop", "leasehold.target")
    configure(pools() + "publisher:\n  external-metrics:\n    certificate: external-metrics.crt\n    key: external-metrics.key\n"
              "    request-header-ca: external-metrics.crt\n")
    run("systemctl", "enable", "leasehold-publisher.socket", "leasehold-publisher-external-metrics.socket", unit("publisher"))
    run("systemctl", "start", "leasehold.target")
    assert asked_over_tls("/healthz") == (200, "ok")
    status, text = asked_over_tls("/apis/external.metrics.k8s.io/v1beta1")
    assert status == 401 and json.loads(text)["kind"] == "Status", (status, text)
    assert published("/healthz") == (200, "ok\n")
    # It outlives the process, as every listener does.
    former = pid("publisher")
    run("systemctl", "kill", "--signal=KILL", "--kill-who=main", unit("publisher"))
    assert asked_over_tls("/healthz") == (200, "ok")
    assert pid("publisher") != former
    # Without the section the socket is one that nobody takes, which is said.
    place = cursor()
    configure(pools() + "publisher: {}\n")
    run("systemctl", "restart", unit("publisher"), check=False)
    said = until("the reason", lambda: journal(place, "MESSAGE_ID=" + message_id("unknownSocket")))
    assert said[0]["LEASEHOLD_SOCKETS"] == "external-metrics", said
    # The target first: what its own connections have left in the backlog of its vitals starts it again until that socket is gone.
    run("systemctl", "stop", "leasehold.target")
    run("systemctl", "disable", "leasehold-publisher.socket", "leasehold-publisher-external-metrics.socket", unit("publisher"))
    run("systemctl", "stop", unit("publisher"), "leasehold-publisher.socket", "leasehold-publisher-external-metrics.socket")
    run("systemctl", "reset-failed", unit("publisher"), check=False)
    configure(pools())
    run("systemctl", "start", "leasehold.target")
    assert get()[0] == 200
    ready()


# --- Workers as units --------------------------------------------------------------------------------------------------------------
def workers():
    text = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active", "leasehold-worker@*").stdout
    return sorted(line.split()[0] for line in text.splitlines())


@test
def workers_are_units_that_come_with_demand_and_go_without():
    configure(pools(idle="1s"))
    run("systemctl", "reload", unit("scaler"), unit("pool-keeper"))
    served = []
    jobs = [threading.Thread(target=lambda: served.append(get("/render?ms=1500")[0])) for _ in range(4)]
    for job in jobs:
        job.start()
    until("four units", lambda: len(workers()) == 4)
    assert all(name.startswith("leasehold-worker@my\\x2dpool-2100") for name in workers()), workers()
    assert all(show(name, "Slice") == "leasehold-workers.slice" for name in workers())
    for job in jobs:
        job.join()
    assert served == [200] * 4
    until("one unit", lambda: len(workers()) == 1)
    configure(pools())
    run("systemctl", "reload", unit("scaler"), unit("pool-keeper"))


@test
def a_worker_that_dies_is_told_with_its_signal_and_started_again():
    place = cursor()
    name = workers()[0]
    former = show(name, "MainPID")
    run("systemctl", "kill", "--signal=KILL", name)
    until("another one", lambda: show(name, "ActiveState") == "active" and show(name, "MainPID") not in ("0", former))
    said = until("its end", lambda: journal(place, "MESSAGE_ID=" + message_id("workerExited")))
    assert "signal 9" in said[0]["LEASEHOLD_STATUS"], said
    assert get()[0] == 200


def known_workers():
    """Those that the scaler tells of; none while it does not answer."""
    told = run("leasehold", "show", "workers", "--json", check=False)
    return {str(w["pid"]) for w in json.loads(told.stdout)} if told.returncode == 0 else set()


@test
def a_scaler_finds_its_workers_again_with_and_without_its_roster():
    until("one unit", lambda: len(workers()) == 1)
    before = {show(name, "MainPID") for name in workers()}
    for forgets in (False, True):
        former = pid("scaler")
        run("systemctl", "kill", "--signal=STOP", "--kill-who=main", unit("scaler"))
        if forgets:
            pathlib.Path("/run/leasehold-scaler/workers.roster").unlink()
        run("systemctl", "kill", "--signal=KILL", "--kill-who=main", unit("scaler"))
        until("another scaler", lambda: pid("scaler") not in (0, former))
        until("it knows all that run", lambda: known_workers() and known_workers() == {show(name, "MainPID") for name in workers()})
        if not forgets:
            assert known_workers() == before
    assert get()[0] == 200
    # What it did not know the command of is replaced.
    until("the one that was forgotten has ended", lambda: before.isdisjoint(show(name, "MainPID") for name in workers()))


@test
def the_scaler_may_start_workers_and_nothing_else():
    def order(user, verb, name):
        return as_user(user, "busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                       verb, "ss", name, "replace").returncode == 0
    assert order("leasehold-scaler", "StopUnit", "leasehold-worker@my\\x2dpool-21007.service")
    for name in ("leasehold-dispatcher.service", "dbus.service", "leasehold-worker@x.service.service", "leasehold.target"):
        assert not order("leasehold-scaler", "RestartUnit", name), name
        assert not order("leasehold-scaler", "StopUnit", name) or name.startswith("leasehold-worker@"), name
    for user in ("leasehold-dispatcher", "leasehold-worker", "nobody"):
        assert not order(user, "StopUnit", "leasehold-worker@my\\x2dpool-21007.service"), user


# --- Restarts, under load ----------------------------------------------------------------------------------------------------------
@test
def a_restart_or_kill_of_any_unit_under_load_loses_nothing():
    get()
    for how in ("restart", "kill"):
        for daemon in DAEMONS:
            with Load() as load:
                former = pid(daemon)
                if how == "restart":
                    run("systemctl", "restart", unit(daemon))
                else:
                    run("systemctl", "kill", "--signal=KILL", unit(daemon))
                until("a new process", lambda: pid(daemon) not in (0, former))
                load.goes_on()
            figure(f"{how} {daemon}: {load.served} jobs served, {len(load.lost)} lost, {load.refused} refused, longest {load.longest * 1000:.0f} ms")
            assert load.refused == 0, f"{how} {daemon}: the listener refused {load.refused}"
            assert not load.lost, f"{how} {daemon}: {load.lost}"
    assert not journal("MESSAGE_ID=" + message_id("tooManyLeases"))


@test
def sessions_outlive_every_process():
    tunnels = [Tunnel() for _ in range(3)]
    for daemon in DAEMONS:
        for how in ("restart", "kill"):
            former, before = pid(daemon), [t.echoed for t in tunnels]
            run("systemctl", *(["restart"] if how == "restart" else ["kill", "--signal=KILL"]), unit(daemon))
            until("a new process", lambda: pid(daemon) not in (0, former))
            ready(daemon)
            until("every session goes on", lambda: all(t.problem or t.echoed > b + 10 for t, b in zip(tunnels, before)))
            assert not any(t.problem for t in tunnels), [t.problem for t in tunnels]
    for tunnel in tunnels:
        tunnel.close()
    figure(f"3 sessions through {len(DAEMONS)} restarts and {len(DAEMONS)} kills: {sum(t.echoed for t in tunnels)} messages echoed, none lost, doubled or out of order")


# --- Crashes -----------------------------------------------------------------------------------------------------------------------
class Knocker:
    """Connects to a listener again and again, and keeps what it found beside success."""

    def __init__(self, path, kind):
        self.path, self.kind, self.knocks, self.found, self.going = path, kind, 0, set(), True
        self.thread = threading.Thread(target=self.knock, daemon=True)
        self.thread.start()

    def knock(self):
        while self.going:
            # A full backlog (nobody accepts while it restarts) is an answer too: only a refusal is a listener lost.
            error = self.once()
            self.knocks += 1
            if error in ("ConnectionRefusedError", "FileNotFoundError"):
                self.found.add(error)
            time.sleep(0.05)

    def once(self):
        family = socket.AF_INET if isinstance(self.path, tuple) else socket.AF_UNIX
        with socket.socket(family, self.kind) as client:
            client.setblocking(False)
            try:
                client.connect(self.path)
            except OSError as error:
                return type(error).__name__
        return None

    def stop(self):
        self.going = False
        self.thread.join()


@test
def each_process_killed_thirty_times_in_ten_seconds_comes_back_and_its_listeners_never_refuse():
    # Everybody dies at once here: afterwards the pool-keeper waits so long for what nobody saw end.
    configure(pools(abandon="1s"))
    run("systemctl", "reload", unit("pool-keeper"), unit("dispatcher"))
    knockers = {d: [Knocker(control_path(d), socket.SOCK_SEQPACKET)] for d in DAEMONS}
    for edge, rule in EDGES.items():
        knockers[rule["server"]].append(Knocker(f"/run/leasehold/{edge}.sock", socket.SOCK_SEQPACKET))
    knockers["dispatcher"].append(Knocker(LISTENER, socket.SOCK_STREAM))
    began = time.monotonic()
    killed = {d: set() for d in DAEMONS}
    try:
        for turn in range(30):
            time.sleep(max(0, began + turn / 3 - time.monotonic()))
            # Whatever processes there are now: some may be between two.
            for daemon, process in pids().items():
                if process:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                        killed[daemon].add(process)
        took = time.monotonic() - began
        ready()
        status = get()[0]
    finally:
        for list_ in knockers.values():
            for knocker in list_:
                knocker.stop()
    for daemon in DAEMONS:
        knocks = sum(k.knocks for k in knockers[daemon])
        figure(f"{daemon}: 30 kills in {took:.1f} s hit {len(killed[daemon])} processes; {knocks} connects, refused: {set().union(*(k.found for k in knockers[daemon])) or 0}")
        assert not any(k.found for k in knockers[daemon]), daemon
    assert status == 200


@test
def a_dispatcher_starts_while_another_process_cannot():
    with dropin(unit("pool-keeper"), "[Service]\nExecStartPre=/bin/sleep 60\n"):
        run("systemctl", "kill", "--signal=KILL", unit("pool-keeper"))
        until("the pool-keeper is stuck", lambda: show(unit("pool-keeper"), "SubState") == "start-pre")
        former = pid("dispatcher")
        run("systemctl", "kill", "--signal=KILL", unit("dispatcher"))
        until("another dispatcher", lambda: pid("dispatcher") not in (0, former))
        ready("dispatcher")
        assert show(unit("pool-keeper"), "SubState") == "start-pre"
    run("systemctl", "restart", unit("pool-keeper"))
    assert get()[0] == 200


@test
def a_process_that_keeps_dying_waits_before_it_goes_on():
    for daemon in DAEMONS:
        place = cursor()
        told = lambda: journal(place, f"SYSLOG_IDENTIFIER=leasehold-{daemon}", "MESSAGE_ID=" + message_id("startsTooOften"))
        # Each is killed once it has noted its start; the fifth, or one soon after on a slow machine, has something to say.
        end = time.monotonic() + PATIENCE
        while not told():
            assert time.monotonic() < end, f"{daemon} never slowed down"
            before = starts(daemon)
            run("systemctl", "kill", "--signal=KILL", "--kill-who=main", unit(daemon), check=False)
            until("its next start is noted", lambda: starts(daemon) != before)
        ready(daemon)
    assert get()[0] == 200


@test
def a_stopped_process_is_replaced_by_its_watchdog():
    # The watcher's own 30 s would take the test's time.
    with dropin(unit("watcher"), "[Service]\nWatchdogSec=3s\n"):
        run("systemctl", "restart", unit("watcher"))
        # So that no start here is the fifth.
        until("earlier starts are forgotten", lambda: not any(recent_starts(d) > 2 for d in DAEMONS))
        ready()
        limits = {d: int(show(unit(d), "WatchdogUSec").rstrip("s").replace("min", "")) for d in DAEMONS}
        former = {d: pid(d) for d in DAEMONS}
        began = time.monotonic()
        for daemon in DAEMONS:
            run("systemctl", "kill", "--signal=STOP", "--kill-who=main", unit(daemon))
        waiting, took = set(DAEMONS), {}
        while waiting:
            for daemon in list(waiting):
                if pid(daemon) not in (0, former[daemon]) and is_ready(daemon):
                    took[daemon] = time.monotonic() - began
                    waiting.discard(daemon)
            assert time.monotonic() - began < 40, f"still stopped: {waiting}"
            time.sleep(0.02)
    for daemon in DAEMONS:
        figure(f"{daemon}: stopped, replaced after {took[daemon]:.1f} s (WatchdogSec {limits[daemon]} s)")
        assert took[daemon] <= limits[daemon] + 2, daemon
    assert get()[0] == 200


def starts(daemon):
    """What the daemon noted of its own starts, on the monotonic clock."""
    file = pathlib.Path(f"/run/leasehold-{daemon}/{daemon}-0.starts")
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def recent_starts(daemon):
    return sum(1 for start in starts(daemon) if time.monotonic_ns() - start < 10_000_000_000)


CHAOS_SOCKETS = {"tcp": 8091, "tcp-scarce": 8092}


@test
def struck_at_random_nothing_is_lost_under_systemd_either():
    """The chaos run of Tests/ChaosKit with its counts, on the installed units: systemctl kill -s KILL, TERM, STOP and systemctl restart."""
    names = [f"leasehold-dispatcher-{name}.socket" for name in CHAOS_SOCKETS]
    doors = ["leasehold-publisher.socket", "leasehold-asset-cache.socket"]
    run("systemctl", "stop", "leasehold.target")
    for (name, port), file in zip(CHAOS_SOCKETS.items(), names):
        pathlib.Path("/run/systemd/system", file).write_text(
            f"[Unit]\nPartOf=leasehold.target\n[Socket]\nListenStream=127.0.0.1:{port}\nFileDescriptorName={name}\n"
            "Service=leasehold-dispatcher.service\nBacklog=4096\nReceiveBuffer=64K\nNoDelay=yes\nTriggerLimitIntervalSec=0\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "start", *names, *doors)
    seed = os.environ.get("LEASEHOLD_SEED") or str(int.from_bytes(os.urandom(3), "big"))
    kills = os.environ.get("LEASEHOLD_KILLS") or "16"
    try:
        said = run("/machine/chaos", "--systemd", "--rounds", "1", "--seed", seed, "--kills", kills, "--both", "0", "--size", "0.4",
                   "--seconds", "3", "--quiet", check=False, timeout=240)
        for line in said.stdout.splitlines():
            if line.startswith("| ") and " -9" in line or "compared" in line or "ause" in line or "dispatcher USR2" in line:
                figure(line)
        assert said.returncode == 0, f"LEASEHOLD_SEED={seed} LEASEHOLD_KILLS={kills}\n{said.stdout[-8000:]}"
    finally:
        run("systemctl", "stop", "leasehold.target", *names, *doors, timeout=60)
        for file in names:
            pathlib.Path("/run/systemd/system", file).unlink()
        run("systemctl", "daemon-reload")
        for manifest in ("wide.yaml", "scarce.yaml"):
            pathlib.Path("/etc/leasehold/endpoints.d", manifest).unlink(missing_ok=True)
        configure(pools())
        run("systemctl", "start", "leasehold.target")
    assert get()[0] == 200
    ready()


# --- Memory ------------------------------------------------------------------------------------------------------------------------
@test
def what_each_process_has_to_itself_is_small():
    for daemon in DAEMONS:
        text = pathlib.Path(f"/proc/{pid(daemon)}/smaps_rollup").read_text()
        size = {m[1]: int(m[2]) for m in re.finditer(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
        own = size["Private_Clean"] + size["Private_Dirty"]
        figure(f"memory {daemon}: RSS {size['Rss'] / 1024:.1f} MiB, PSS {size['Pss'] / 1024:.1f} MiB, USS {own / 1024:.1f} MiB")
        assert own < 24 * 1024, daemon


# --- The end -----------------------------------------------------------------------------------------------------------------------
def left_over():
    """What runs of Leasehold, or is still to be started: asked for in this order, so that what goes from one to the other is seen."""
    jobs = run("systemctl", "list-jobs", "--plain", "--no-legend", "leasehold*").stdout
    units = run("systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating", "leasehold*.service", "leasehold*.socket").stdout
    return (jobs + units).strip()


def loaded_workers(*states):
    return run("systemctl", "list-units", "--plain", "--no-legend", f"--state={','.join(states)}", "leasehold-worker@*").stdout.splitlines()


def has_demand():
    return '"demand":6' in run("leasehold", "show", "pools", "--json").stdout.replace(" ", "")


# When the stop comes, and whether a worker is there that serves those who wait.
MOMENTS = {
    "nobody has answered the demand": (has_demand, False),
    "there is demand": (has_demand, False),
    "a first worker starts": (lambda: loaded_workers("active", "activating"), False),
    "a first worker runs": (lambda: loaded_workers("active"), True),
    "some workers run": (lambda: len(loaded_workers("active")) > 1, True),
}


@test
def a_stop_while_workers_are_started_leaves_none_behind():
    run("systemctl", "stop", "leasehold.target")
    # Who waits for a worker when none is there is refused after `hold`, and holds the drain for as long.
    configure(pools(minimum=0).replace("timeout: 60s", "timeout: 8s"))
    for moment, (has_come, is_served) in MOMENTS.items():
        place = cursor()
        run("systemctl", "start", "leasehold.target", "leasehold-dispatcher-http.socket", unit("dispatcher"))
        ready()
        assert not loaded_workers("active", "activating")
        results = []
        callers = [threading.Thread(target=lambda: results.append(get("/render?ms=300", timeout=60)[0])) for _ in range(6)]
        # In the first moment the scaler hears of them when the stop is queued: its starts come after that, one and all.
        is_held_up = moment == next(iter(MOMENTS))
        if is_held_up:
            run("systemctl", "kill", "--signal=STOP", "--kill-who=main", unit("scaler"))
        for caller in callers:
            caller.start()
        until(moment, has_come)
        began = time.monotonic()
        run("systemctl", "--no-block", "stop", "leasehold.target")
        if is_held_up:
            until("the drain has begun", lambda: show(unit("dispatcher"), "ActiveState") == "deactivating")
            run("systemctl", "kill", "--signal=CONT", "--kill-who=main", unit("scaler"))
        until("the target has stopped", lambda: show("leasehold.target", "ActiveState") == "inactive", 60)
        took, left = time.monotonic() - began, left_over()
        for caller in callers:
            caller.join()
        figure(f"stop when {moment} took {took:.1f} s: {results}")
        assert not left, left
        refused = journal(place, "MESSAGE_ID=" + message_id("workerNotStarted"))
        assert refused or not is_held_up
        # Refused because the target, or that worker, is being stopped; or under way when the stop came.
        reasons = [line["LEASEHOLD_REASON"] for line in refused]
        stopping = r"(leasehold\.target|leasehold-worker@\S+) has 'stop' job queued|ended as 'canceled'"
        assert all(re.search(stopping, reason) for reason in reasons), reasons
        assert len(results) == 6 and set(results) <= ({200} if is_served else {200, 503}), results
    # Nobody else starts one without the rest either.
    assert run("systemctl", "start", "leasehold-worker@my\\x2dpool-21000.service", check=False).returncode != 0
    assert not left_over(), left_over()
    configure(pools())
    run("systemctl", "start", "leasehold.target", "leasehold-dispatcher-http.socket")
    assert get()[0] == 200
    ready()


@test
def stopping_the_target_drains():
    ready()
    results, late = [], []
    callers = [threading.Thread(target=lambda: results.append(get("/render?ms=2500&bytes=1000", timeout=60)[0])) for _ in range(6)]
    for caller in callers:
        caller.start()
    # More callers than workers, of which some may just be starting: some of them are parked when the drain begins.
    until("six are there", has_demand)
    stop = threading.Thread(target=lambda: late.append(run("systemctl", "stop", "leasehold.target", timeout=60).returncode))
    began = time.monotonic()
    stop.start()
    until("it drains", lambda: journal("_SYSTEMD_UNIT=" + unit("dispatcher"), "MESSAGE_ID=" + message_id("stopping"), f"_PID={pid('dispatcher')}"))
    status, headers = get()
    assert status == 503 and headers["Leasehold-Reason"] == "draining", (status, headers)
    for caller in callers:
        caller.join()
    stop.join()
    figure(f"stop under 6 jobs of 2.5 s on up to 4 workers took {time.monotonic() - began:.1f} s: {results}")
    assert results == [200] * 6 and late == [0]
    assert not left_over(), left_over()
    assert try_connect(LISTENER, socket.SOCK_STREAM) == "ConnectionRefusedError"


@test
def an_upgrade_restarts_what_runs_and_serves_on():
    run("systemctl", "start", "leasehold.target")
    get()
    ready()
    former = {d: pid(d) for d in DAEMONS}
    with Load() as load:
        run("dpkg", "--no-triggers", "--install", "/machine/leasehold.deb", timeout=120)
        load.goes_on()
    figure(f"upgrade: {load.served} jobs served, {len(load.lost)} lost, {load.refused} refused, longest {load.longest * 1000:.0f} ms")
    ready()
    assert all(pid(d) != former[d] for d in DAEMONS)
    assert load.refused == 0


@test
def a_purge_leaves_nothing_but_what_people_wrote():
    run("dpkg", "--no-triggers", "--purge", "leasehold", timeout=120)
    for place in ("/usr/lib/leasehold", "/usr/bin/leasehold", "/var/lib/leasehold", "/run/leasehold", "/etc/leasehold/endpoints.d"):
        assert not pathlib.Path(place).exists(), place
    assert CONFIGURATION.exists()
    assert not list(pathlib.Path("/usr/lib/systemd/system").glob("leasehold*"))
    left = run("ps", "-eo", "user:32,args").stdout
    assert "/usr/lib/leasehold" not in left and "leasehold-" not in left, left


def main(chosen):
    failed, ran, began = [], 0, time.monotonic()
    for function in TESTS:
        name = function.__name__.replace("_", " ")
        if chosen and not any(c in name for c in chosen):
            continue
        ran += 1
        start = time.monotonic()
        try:
            function()
            print(f"ok    {time.monotonic() - start:5.1f} s  {name}", flush=True)
        except BaseException:
            failed.append(name)
            print(f"FAIL  {time.monotonic() - start:5.1f} s  {name}\n{traceback.format_exc()}", flush=True)
    if failed:
        print("--- the journal's end, without what is told all the time")
        text = run("journalctl", "--no-pager", "--lines=2000", "--output=short-precise", check=False).stdout
        print("\n".join([l for l in text.splitlines() if "A job ended" not in l and "A link was refused" not in l][-150:]))
    print(f"{ran - len(failed)} of {ran} kept, {time.monotonic() - began:.0f} s")
    for name in failed:
        print(f"failed: {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    # What a Leasehold of the host has left there is in this machine's overlay: this one is new, and has nobody to wait for.
    shutil.rmtree("/var/lib/leasehold", ignore_errors=True)
    signal.alarm(int(os.environ["SECONDS_AT_MOST"]))
    sys.exit(main(sys.argv[1:]))
