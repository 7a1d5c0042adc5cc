#!/usr/bin/env python3
"""Boots a throw-away machine, installs the package there and runs Tests/Systemd/inside.py in it.

    Tests/Systemd/run.py BUILD-DIRECTORY [--package FILE.deb] [--seconds N] [WORDS-OF-A-TEST ...]

Without root, systemd or namespaces it says which tests are skipped and why, and exits with 0. Everything is over after --seconds
(default 360), whatever hangs; the machine leaves nothing behind (the last test looks).
"""
import argparse
import importlib.machinery
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MACHINE = HERE / "machine"


def traces():
    """What a machine could leave behind on its host."""
    cgroups = [str(p) for p in pathlib.Path("/sys/fs/cgroup").glob("**/leasehold-machine-*")]
    return pathlib.Path("/proc/self/mountinfo").read_text(), sorted(cgroups), sorted(p.name for p in pathlib.Path("/etc").iterdir())


def refuses_on_the_host():
    """The checks before anything is mounted, tried here, where each must refuse. They read and compare, and do nothing else:
    the part that mounts has no entrance that could be tried on a host (a try once took the root from a whole machine)."""
    script = importlib.machinery.SourceFileLoader("machine", str(MACHINE)).load_module()
    own = script.namespaces()
    tries = {
        "in the namespaces that it began in": lambda: script.require_new(own),
        "with one of them unknown": lambda: script.require_new({}),
        "with one of them empty": lambda: script.require_new({kind: "" for kind in script.NEW}),
        "with only the mounts the host's": lambda: script.require_new({kind: "other" for kind in script.NEW} | {"mnt": own["mnt"]}),
        "on the host's root": script.require_throw_away,
    }
    before = traces()
    for name, attempt in tries.items():
        try:
            attempt()
        except script.Refused:
            continue
        raise AssertionError(f"the machine would go on {name}")
    assert traces() == before
    print(f"ok    the machine refuses to be its host, in {len(tries)} ways", flush=True)


def enter(init, *command, **more):
    return subprocess.run(
        ["nsenter", f"--target={init}", "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--", *map(str, command)], **more)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("build")
    options.add_argument("--package")
    options.add_argument("--seconds", type=int, default=360)
    options.add_argument("words", nargs="*")
    chosen = options.parse_intermixed_args()
    began = time.monotonic()

    probe = subprocess.run([str(MACHINE), "--probe"], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if probe.returncode != 0:
        for name in re.findall(r"@test\ndef (\w+)", (HERE / "inside.py").read_text()):
            print(f"skipped: {name.replace('_', ' ')}")
        print(f"skipped: all of Tests/Systemd. {probe.stdout.strip()}")
        return 0
    refuses_on_the_host()

    with tempfile.TemporaryDirectory(prefix="leasehold-systemd-") as scratch:
        package = chosen.package
        if not package:
            made = subprocess.run(
                [ROOT / "scripts/deb", chosen.build, scratch], env=os.environ | {"COMPRESSION": "-Zzstd -z1"}, text=True, stdout=subprocess.PIPE)
            if made.returncode != 0:
                return made.returncode
            package = made.stdout.split()[-1]
        print(f"      package {os.path.getsize(package) / 1e6:.1f} MB after {time.monotonic() - began:.1f} s", flush=True)
        before = traces()
        canary = pathlib.Path("/tmp") / f"leasehold-canary-{os.getpid()}"
        canary.write_text("alive")
        host_units = subprocess.run(["find", "/etc/systemd", "/usr/lib/leasehold", "-newer", canary], text=True, capture_output=True).stdout
        machine = subprocess.Popen([str(MACHINE), str(chosen.seconds)], text=True, stdout=subprocess.PIPE)
        try:
            line = machine.stdout.readline().split()
            if len(line) != 2 or line[0] != "init":
                print(f"FAIL  the machine did not start: {line}")
                return 1
            init = int(line[1])
            until = time.monotonic() + 30
            while enter(init, "systemctl", "is-system-running", "--quiet", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
                if machine.poll() is not None or time.monotonic() > until:
                    print("FAIL  systemd did not come up")
                    enter(init, "systemctl", "--no-pager", "--failed")
                    return 1
                time.sleep(0.05)
            print(f"ok    systemd is up after {time.monotonic() - began:.1f} s", flush=True)
            with open(package, "rb") as file:
                enter(init, "sh", "-c", "mkdir -p /machine && cat > /machine/leasehold.deb", stdin=file, check=True)
            with open(pathlib.Path(chosen.build) / "chaos", "rb") as file:
                enter(init, "sh", "-c", "cat > /machine/chaos && chmod 755 /machine/chaos", stdin=file, check=True)
            installed = enter(init, "dpkg", "--no-triggers", "--install", "/machine/leasehold.deb", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if installed.returncode != 0:
                print(f"FAIL  the package does not install:\n{installed.stdout}")
                return 1
            enter(init, "touch", "/tmp/of-the-machine", "/etc/of-the-machine")
            print(f"ok    installed after {time.monotonic() - began:.1f} s", flush=True)
            # Carried in: a checkout below /tmp is out of the machine's sight.
            files = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], stdout=subprocess.PIPE, check=True).stdout
            tree = subprocess.run(["tar", "-C", ROOT, "--null", "-T", "-", "-c"], input=files, stdout=subprocess.PIPE, check=True).stdout
            enter(init, "sh", "-c", "mkdir -p /machine/sources && tar -C /machine/sources -x", input=tree, check=True)
            status = enter(
                init, "env", "SOURCES=/machine/sources", f"SECONDS_AT_MOST={chosen.seconds - 20}", "PYTHONDONTWRITEBYTECODE=1", "python3", "/machine/sources/Tests/Systemd/inside.py",
                *chosen.words).returncode
        finally:
            # By its own number; what is in the machine dies with it.
            machine.send_signal(signal.SIGTERM)
            machine.wait(timeout=30)
        after = traces()
        left = [str(p) for p in (pathlib.Path("/tmp/of-the-machine"), pathlib.Path("/etc/of-the-machine")) if p.exists()]
        changed = subprocess.run(["find", "/etc/systemd", "/usr/lib/leasehold", "-newer", canary], text=True, capture_output=True).stdout
        clean = after == before and not left and canary.read_text() == "alive" and changed == host_units
        canary.unlink()
        if clean:
            print("ok    the machine left nothing behind")
        else:
            print(f"FAIL  the machine left traces: {left} {changed} {set(after[1]) - set(before[1])}")
            status = 1
    print(f"      {time.monotonic() - began:.0f} s in all")
    return status


if __name__ == "__main__":
    sys.exit(main())
