"""Make the corpus anew, by one command.

    python -m training.corpus --out build/corpus

Every project of ``projects.toml`` is fetched by name and pinned version, its files are split into records as Dobby
splits them, and each documented one becomes a pair. Test and validation projects are read first, so that what training
shares with them is dropped from training.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
from pathlib import Path

from training.corpus.build import ROLES, build


def main() -> None:
    """Parse the command line and build the corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/corpus"))
    parser.add_argument("--archives", type=Path, default=Path("build/archives"))
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=ROLES, help="an evaluation needs test only")
    arguments = parser.parse_args()
    roles = [role for role in ROLES if role in arguments.roles]
    try:
        counts = build(arguments.out, arguments.archives, arguments.workers, roles)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise SystemExit(f"a package could not be fetched: {error}") from None
    for role in (*roles, "dropped"):
        print(f"{role}: {sum(counts[role].values()):,}", dict(counts[role].most_common()))


if __name__ == "__main__":
    main()
