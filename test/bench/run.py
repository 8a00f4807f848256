"""make bench: each bench beside what it is compared with, in one run; ratios, never absolute times, are the result.

BENCH=drain,latency,failover,publish chooses; BENCH_JSON=file keeps the rows; BENCH_EVENTS and BENCH_BACKLOG size the
drain (1 M and 10 M); LD_LIBRARY_PATH puts another librdkafka before the system's.
"""
import importlib
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report  # noqa: E402

ALL = sorted(file.stem for file in Path(__file__).parent.glob("*.py")
             if "\ndef bench(" in file.read_text(encoding="utf-8"))


def main():
    chosen = [name for name in os.environ.get("BENCH", ",".join(ALL)).split(",") if name]
    unknown = [name for name in chosen if name not in ALL]
    if unknown:
        sys.exit(f"bench: no bench is called {', '.join(unknown)}; there are {', '.join(ALL)}")
    report = Report()
    for name in chosen:
        module = importlib.import_module(f"bench.{name}")
        print(f"{name}: {module.__doc__.strip().splitlines()[0]}", flush=True)
        module.bench(report)
    report.save()


if __name__ == "__main__":
    main()
