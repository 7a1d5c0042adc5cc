#!/usr/bin/env python3
"""Runs the tests of this directory: `run.py [MODULE…]`, three modules at a time, each against processes of its own.

A module whose Python packages are missing is skipped by name. Exit 1 when anything failed.
LEASEHOLD_BIN says where the built executables are; LEASEHOLD_CRASH_ROUNDS how often the crash tests kill; LEASEHOLD_SEED repeats a run.
"""
import concurrent.futures
import importlib.util
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
# Beside these, boto3.
NEEDS = {"test_awscli": ["boto3", "awscli"], "test_publisher": [], "test_external_metrics": ["cryptography"], "test_page": ["websockets"], "test_traces": [], "test_top": [],
         "test_keda": ["grpc", "grpc_tools", "yaml"], "test_spans": ["opentelemetry"], "test_crowd": [], "test_explain": [],
         "test_tiering_moto": ["boto3", "moto", "flask"]}
BOUND = 300


def run(name):
    missing = [package for package in NEEDS.get(name, ["boto3"]) if importlib.util.find_spec(package) is None]
    if missing:
        return name, True, f"skipped: no Python package {', '.join(missing)} (scripts/bootstrap test installs it)"
    start = time.monotonic()
    try:
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "unittest", name], cwd=HERE, capture_output=True, text=True, timeout=BOUND)
    except subprocess.TimeoutExpired as error:
        return name, False, f"not done after {BOUND} s\n{(error.stderr or b'').decode(errors='replace')}"
    seconds = time.monotonic() - start
    text = result.stdout + result.stderr
    if result.returncode:
        return name, False, text
    summary = [line for line in text.splitlines() if line.startswith(("Ran ", "crash:", "crowd:", "page:", "OK"))]
    return name, True, f"{'; '.join(summary)} ({seconds:.0f} s)"


# The longest first.
names = sys.argv[1:] or sorted(
    (p.stem for p in HERE.glob("test_*.py")), key=lambda n: ["test_tiering", "test_tiering_away", "test_crash", "test_awscli", "test_store"].index(n) if n in (
        "test_tiering", "test_tiering_away", "test_crash", "test_awscli", "test_store") else 9)
failed = 0
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    for done in concurrent.futures.as_completed([pool.submit(run, name) for name in names]):
        name, passed, text = done.result()
        failed += not passed
        print(f"{'clients' if passed else 'FAILED'}: {name}: {text}", flush=True)
sys.exit(1 if failed else 0)
