"""The table of a bench run: rows on the terminal as they come, and as JSON for machines (BENCH_JSON=file)."""
import json
import os
import platform
import subprocess

from support.process import RELAY


class Report:
    """Each row: which bench, what was measured, the figure, and its ratio to what stood beside it."""

    def __init__(self):
        self.rows = []
        # librdkafka as the relay finds it when it starts: LD_LIBRARY_PATH may put another one first.
        self.versions = subprocess.run([RELAY, "--version"], check=True, capture_output=True, text=True).stdout.strip()
        self.note(self.versions.replace("\n", ", "))

    def add(self, bench, what, figure, unit, ratio=None, aim=None, **more):
        self.rows.append({"bench": bench, "what": what, "figure": figure, "unit": unit, "ratio": ratio,
                          "aim": aim, **more})
        shown = f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.2f}"
        beside = "" if ratio is None else f"  {ratio:6.2f} x"
        print(f"  {bench:<10} {what:<58} {shown:>12} {unit:<10}{beside:<10}  {aim or ''}", flush=True)

    def note(self, text):
        print(f"  ({text})", flush=True)

    def save(self):
        file = os.environ.get("BENCH_JSON")
        if file:
            with open(file, "w", encoding="utf-8") as output:
                json.dump({"machine": platform.machine(), "cores": os.cpu_count(), "versions": self.versions,
                           "rows": self.rows}, output, indent=1)
