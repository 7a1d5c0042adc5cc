#!/usr/bin/env python3
"""Writes one run as Markdown, for docs/performance.md:  python3 Benchmarks/render.py bench-results/FILE.json"""

import json
import pathlib
import sys

from bench import BESIDE, BULK, PARKED, SCENARIOS
from harness import report


class Markdown(report.Printer):
    def __init__(self) -> None:
        super().__init__(colour=False)

    def heading(self, text: str) -> None:
        print(f"\n### {text}\n")

    def note(self, text: str) -> None:
        print(f"{text}\n")

    def table(self, columns: list[str], rows: list[list[str]]) -> None:
        print("| " + " | ".join(columns) + " |")
        print("|---|" + "---:|" * (len(columns) - 1))
        for row in rows:
            name = ("&nbsp;&nbsp;" + row[0].strip()) if row[0].startswith(" ") else row[0]
            print("| " + " | ".join([name, *row[1:]]) + " |")


def main() -> None:
    run = json.loads(pathlib.Path(sys.argv[1]).read_text())
    printer, results, described = Markdown(), run["results"], run["machine"]
    arguments = run["arguments"]
    print(f"{described['cpu']}, {described['cpus']} processors{' (virtual)' if described['hypervisor'] else ''}, kernel {described['kernel']}; "
          f"{described['haproxy'].split(' - ')[0]}, {described['nginx']}; commit {described['commit']}; "
          f"{arguments['rounds']} rounds of {arguments['seconds']} s; load average at the start {described['load_average'][0]:.1f}.")
    for name, (title, _) in SCENARIOS.items():
        for key, summaries in results.get(name, {}).items():
            if key == "syscalls":
                printer.heading(f"{title} · system calls per job")
                report.syscalls_table(printer, summaries)
            else:
                printer.heading(f"{title} · " + (f"open loop, {arguments['rate']} jobs/s" if key == "open" else f"{key} callers"))
                report.jobs_table(printer, summaries)
    if "parked" in results:
        printer.heading(PARKED[0])
        report.parked_table(printer, results["parked"])
    for name, summaries in results.get("beside", {}).items():
        printer.heading(f"{BESIDE[0]} · {name}")
        report.beside_table(printer, summaries)
    for name, (title, _) in BULK.items():
        key = name.removeprefix("bulk-")
        if key in results.get("bulk", {}):
            printer.heading(title)
            report.bulk_table(printer, results["bulk"][key])
    if "micro" in results:
        printer.heading("The machines alone")
        report.micro_table(printer, [
            {"name": name, "size": int(size), **one} for name, sizes in results["micro"].items() for size, one in sizes.items()])


if __name__ == "__main__":
    main()
