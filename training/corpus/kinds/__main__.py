"""Make the pairs of contents other than functions and classes, by one command.

python -m training.corpus.kinds --archives build/archives --out build/corpus
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

from training.corpus.build import ROLES
from training.corpus.kinds.build import build


def main() -> None:
    """Parse the command line and build the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/corpus"))
    parser.add_argument("--archives", type=Path, default=Path("build/archives"))
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--present-only", action="store_true", help="fetch nothing; go without what is not there")
    parser.add_argument("--roles", nargs="+", choices=ROLES, default=ROLES, help="an evaluation needs test only")
    arguments = parser.parse_args()
    roles = [role for role in ROLES if role in arguments.roles]
    counts = build(arguments.out, arguments.archives, arguments.workers, arguments.present_only, roles)
    for role, found in counts.items():
        print(f"{role}: {sum(found.values()):,}")
        for name, count in sorted(found.items()):
            print(f"  {name}: {count:,}")


if __name__ == "__main__":
    main()
