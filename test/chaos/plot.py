"""Curves as SVG, without a library: panels under each other that share the axis below."""
from html import escape

WIDTH, PANEL, LEFT, RIGHT, GAP = 860, 110, 70, 150, 34
COLOURS = ("#1f6fb2", "#d1702a", "#3a8f4c")


def draw(axis, at, panels):
    """`at`: where the points stand on the axis; `panels`: [(title, {name: values}), …]."""
    height = len(panels) * (PANEL + GAP) + GAP
    body = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>']
    for number, (title, curves) in enumerate(panels):
        body += panel(number * (PANEL + GAP) + GAP - 10, title, at, curves)
    end = max(at, default=0)
    body.append(f'<text x="{LEFT}" y="{height - 8}">0</text>')
    body.append(f'<text x="{WIDTH - RIGHT}" y="{height - 8}" text-anchor="end">{end:.0f} {escape(axis)}</text>')
    return "\n".join([*body, "</svg>"]) + "\n"


def panel(top, title, at, curves):
    most = max((value for values in curves.values() for value in values), default=0) or 1
    across, right = max(at, default=0) or 1, WIDTH - RIGHT
    lines = [f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{escape(title)}</text>',
             f'<path d="M{LEFT} {top}V{top + PANEL}H{right}" fill="none" stroke="#888"/>',
             f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.0f}</text>',
             f'<text x="{LEFT - 6}" y="{top + PANEL}" text-anchor="end">0</text>']
    for number, (name, values) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{LEFT + x / across * (right - LEFT):.1f},{top + PANEL - value / most * PANEL:.1f}"
                          for x, value in zip(at, values))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        lines.append(f'<text x="{right + 10}" y="{top + 14 + 15 * number}" fill="{colour}">{escape(name)}</text>')
    return lines
