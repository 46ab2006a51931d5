"""The findings as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from sealiency.claims.judge import INFINITE


def format_findings(findings: Mapping[str, Any]) -> str:
    """Return findings as Markdown: the judged claims, the measures by lead, and the rule."""
    rows = [
        {
            "claim": claim["title"],
            "lead": "all" if claim["lead"] is None else claim["lead"],
            "statistic": f"{claim['statistic']} ({claim['units']})",
            "emulator": _format(claim["value"], claim["interval"]),
            "seeds": ", ".join(_format(value) for value in claim["seeds"]),
            "nulls": "; ".join(f"{null['name']} {_format(null['value'], null['interval'])}" for null in claim["nulls"]),
            "verdict": f"**{claim['verdict']}**: {claim['reason']}",
        }
        for claim in findings["claims"]
    ]
    return "\n".join(
        [
            f"# Findings on {findings['data_set']}",
            "",
            f"Attributions by {findings['method']}. Value [interval] of the run's own emulators, and of what could have "
            "produced it without any knowledge of the sea.",
            "",
            *_tabulate(rows),
            "",
            "## Measures by lead",
            "",
            *_tabulate(findings["measures"]),
            "",
            "## Methods",
            "",
            "Correlations of heatmaps over months and cells, means over seeds, pixels and samples.",
            "",
            *_tabulate(findings["methods"]),
            "",
            "## The rule of the verdicts",
            "",
            findings["rule"],
            "",
        ]
    )


def _tabulate(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["Nothing was measured."]
    cells = [
        [
            _format(cell) if cell is None or isinstance(cell, float) or cell in INFINITE else str(cell)
            for cell in row.values()
        ]
        for row in rows
    ]
    return [
        f"| {' | '.join(cell.replace('|', '/') for cell in line)} |"
        for line in (list(rows[0]), ["---"] * len(rows[0]), *cells)
    ]


def _format(value: float | str | None, interval: Sequence[float | str | None] | None = None) -> str:
    text = "\N{EN DASH}" if value is None else f"{float(value):.3g}".replace("inf", "\N{INFINITY}")
    return text if interval is None else f"{text} [{', '.join(_format(end) for end in interval)}]"
