"""What the outcomes say: cells that are wrong, the table, the traps."""
from collections import defaultdict

from . import cases


def silent(asked, outcome):
    """What became of a value where no server can tell, or None."""
    return cases.SILENT.get(asked.case.name, {}).get(outcome.what) if asked.style != "recipe" else None


def wrong(asked, outcome):
    """Why an outcome is none of the two right ones, or None."""
    if silent(asked, outcome):
        return None
    if outcome.kind == "other":
        return f"{asked.name}: {outcome.what}"
    if asked.style == "recipe" and asked.case.expect != "refused" and outcome.kind != "equal":
        return f"{asked.name}: refused with {outcome.what}"
    if asked.case.expect == "refused" and outcome.kind == "equal" and asked.style == "recipe":
        return f"{asked.name}: not refused"
    return None


def failures(outcomes):
    return list(filter(None, (wrong(*each) for each in outcomes)))


def cells(outcomes):
    """(driver, case, mode) → what is wrong with it, in any style."""
    found = defaultdict(list)
    for asked, outcome in outcomes:
        found[asked.driver.name, asked.case.name, asked.mode] += filter(None, [wrong(asked, outcome)])
    return found


def shown(asked, outcome):
    if outcome.kind == "other":
        return silent(asked, outcome) or "WRONG"
    return "=" if outcome.kind == "equal" else outcome.what


def table(outcomes):
    """Cases by drivers: `=` where what was meant arrived, and what else came of it, depending on how it was written."""
    drivers = list(dict.fromkeys(asked.driver.name for asked, _ in outcomes))
    found = defaultdict(set)
    for asked, outcome in outcomes:
        found[asked.case.name, asked.driver.name].add(shown(asked, outcome))
    width = max(len(case.name) for case in cases.CASES)
    yield " " * width + "  " + "  ".join(drivers)
    for case in cases.CASES:
        yield case.name.ljust(width) + "  " + "  ".join(
            " ".join(sorted(found[case.name, driver])).ljust(len(driver)) or "-" for driver in drivers)
