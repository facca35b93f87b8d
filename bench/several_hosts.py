"""Several hosts with one database server, and random faults: ``python -m bench.several_hosts --rounds 10``.

Each host is a network, a process table and a name of its own on this machine (needs root). In each round one fault befalls
a host: it is killed, cut off from the database, suspended, or its link becomes slow; for shorter or longer than its claims
are valid. At the end every record must be done once.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.tables import table
from dobby_dagster_tests.helpers.host_network import NetworkHost, reason_without_hosts
from dobby_dagster_tests.helpers.several_hosts import CLAIM_SECONDS, SeveralHosts, several_hosts

FAULTS = ("killed", "cut off", "suspended", "slow link")
NAMES = ["red", "green", "blue"]
DELAY_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    """Run it; the exit status is 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m bench.several_hosts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="how many faults")
    parser.add_argument("--seed", type=int, default=1, help="which faults")
    given = parser.parse_args(arguments)
    if reason := reason_without_hosts():
        print(reason)
        return 1
    chance, began, rows = random.Random(given.seed), time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder, several_hosts(Path(folder), NAMES, 200) as system:
        for host in system.hosts:
            system.start(host)
        for number in range(1, given.rounds + 1):
            host, fault = chance.choice(system.hosts), FAULTS[(number - 1) % len(FAULTS)]
            seconds = chance.choice([CLAIM_SECONDS / 3, CLAIM_SECONDS * 2.5])
            system.wait(lambda host=host: host.name in system.holders(), f"claim of {host.name}")  # type: ignore[misc]
            before = system.completed()
            befall(system, host, fault, seconds)
            rows.append([number, host.name, fault, f"{seconds:.1f} s", system.completed() - before])
        system.finish()
        found = system.check(given.rounds)
        table(["round", "host", "fault", "for", "records that the others completed meanwhile"], rows)
        taken_over = Counter[str]()
        for host in system.hosts:
            taken_over[host.name] = (Path(folder) / host.name / "log").read_text().count("had lapsed")
        seconds = time.monotonic() - began
    print(f"\n{system.records} records, each completed once, in {seconds:.0f} s with {given.rounds} faults.")
    print(f"Inferred: {found}. Claims that lapsed and were noticed: {dict(taken_over)}.")
    return 0


def befall(system: SeveralHosts, host: NetworkHost, fault: str, seconds: float) -> None:
    """Let ``fault`` befall ``host`` for ``seconds``, and end."""
    if fault == "killed":
        host.kill()
        time.sleep(seconds)
        system.start(host)
    elif fault == "cut off":
        host.unplug()
        time.sleep(seconds)
        host.plug_in()
    elif fault == "suspended":
        host.suspend()
        time.sleep(seconds)
        host.resume()
    else:
        host.slow_down(DELAY_SECONDS)
        time.sleep(seconds)
        host.slow_down(0.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
