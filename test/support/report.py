"""What a checker found: kinds of damage, the invariant that each breaks, and where."""
from dataclasses import dataclass

KINDS = ("lost", "doubled", "inverted", "phantom", "torn", "forked", "altered", "misread", "unproven")


@dataclass(frozen=True)
class Finding:
    kind: str
    invariant: str
    text: str


class Report:
    def __init__(self):
        self.findings = []
        self.published = 0
        self.delivered = 0

    def add(self, kind, invariant, text):
        self.findings.append(Finding(kind, invariant, text))

    def count(self, kind):
        return sum(finding.kind == kind for finding in self.findings)

    @property
    def ok(self):
        return not self.findings

    def invariants(self):
        return {finding.invariant for finding in self.findings}

    def __str__(self):
        counts = " · ".join(f"{kind} {self.count(kind)}" for kind in KINDS)
        lines = [f"published {self.published} · delivered {self.delivered} · {counts}"]
        lines += [f"  {f.invariant} {f.kind}: {f.text}" for f in self.findings[:20]]
        if len(self.findings) > 20:
            lines.append(f"  … and {len(self.findings) - 20} more")
        return "\n".join(lines)
