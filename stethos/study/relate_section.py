"""Outputs against measurements, as tables and figures of a report."""

from __future__ import annotations

from stethos.report.page import Block, Section
from stethos.report.picture import Picture
from stethos.report.relation import heat_picture, rise_picture
from stethos.report.table import Cell, Table
from stethos.report.words import decimal
from stethos.study.measurements import short_words
from stethos.study.relate import FEWEST, Related
from stethos.types import Estimate

CLEAR = 0.05
_SIGN = {1: "+", -1: "−"}


def tables(related: Related) -> list[Table]:
    """Every measurement with its own label, the expected signs beside those found, and what was left out."""
    found = [_own_table(related), _sign_table(related)]
    if related.left_out:
        rows = [[column, why] for column, why in related.left_out.items()]
        found.append(Table(("column", "why"), rows, f"Left out, {related.split}"))
    return found


def section(*related: Related) -> Section:
    """Correlations of the outputs of a model with measurements it was not taught, one split after the other."""
    blocks: list[Block] = [
        "The model was taught labels, not measurements. A correlation over everybody may be no more than the two "
        "classes apart; one among those without the label is not."
    ]
    for item in related:
        blocks += [_map(item, partial=False), _map(item, partial=True), _rises(item), *tables(item)]
    return Section("Outputs against measurements", blocks)


def _map(related: Related, partial: bool) -> Picture:
    """All correlations of a split, the plain or the partial ones."""
    columns = [item.column for item in related.measurements]
    place = {
        (column, label): (related.names.index(label), columns.index(column)) for column, label in related.relations
    }
    each = {place[pair]: relation for pair, relation in related.relations.items()}
    rho = {at: item.found.partial if partial else item.found.rho for at, item in each.items()}
    q = {at: item.partial_q if partial else item.q for at, item in each.items()}
    framed = [place[column, own.label] for column, own in related.own.items() if (column, own.label) in place]
    names = (
        [short_words(name) for name in related.names],
        [f"{item.words} ({item.unit})" for item in related.measurements],
    )
    beyond = f" given {_listed(related)}" if partial else ""
    caption = (
        f"Spearman's ρ{beyond}, subjects drawn with replacement. Bold and tinted: adjusted p below 0.05 (Benjamini and "
        f"Hochberg over all {len(each)} cells); hatched and grey: not. Framed: the label that the measurement defines."
    )
    return heat_picture(f"Outputs against measurements{beyond}, {related.split}", names, rho, q, framed, caption)


def _rises(related: Related) -> Picture:
    """Mean measurement by group of the output of its own label."""
    words = {item.column: item for item in related.measurements}
    panels = {}
    for column, own in related.own.items():
        p = f"trend p {_p(own.trend.p)}" if own.trend else "no trend test"
        panels[words[column].words] = (own.means, words[column].unit, f"by {short_words(own.label)}\n{p}")
    caption = (
        "Mean of the measurement over the records of each group of the output of the label it defines (tenths where "
        "there are 150 subjects), with 95 % intervals by subject. Trend: Jonckheere and Terpstra, one mean a subject."
    )
    return rise_picture(f"Measurement by output, {related.split}", panels, "group of the output", caption)


def _own_table(related: Related) -> Table:
    """Plain, partial and within-negatives correlation of every measurement with the output of its own label."""
    words = {item.column: item.words for item in related.measurements}
    rows: list[list[Cell]] = []
    for column, own in related.own.items():
        relation = related.relations.get((column, own.label))
        found = [relation.found.rho, relation.found.partial] if relation else [None, None]
        within = own.within.rho if own.within else None
        rows.append([words[column], short_words(own.label), *found, within, own.trend.p if own.trend else None])
    columns = ("measurement", "output", "ρ", "partial ρ", "ρ without the label", "trend p")
    note = (
        f"Partial: given {_listed(related) or 'nothing'}. Without the label: only records known not to have it, at "
        f"least {FEWEST}."
    )
    return Table(columns, rows, f"Measurements with the label they define, {related.split}", note)


def _sign_table(related: Related) -> Table:
    """Every pair with an expected sign, and what was found."""
    rows: list[list[Cell]] = []
    for item in related.measurements:
        for label in related.names:
            sign, relation = item.sign(label), related.relations.get((item.column, label))
            if sign and relation:
                rho, q = relation.found.rho, relation.q
                rows.append([item.words, short_words(label), _SIGN[sign], *_found(sign, rho, q), rho, float(q)])
    agreed = sum(row[4] == "yes" for row in rows)
    note = f"{agreed} of {len(rows)} as expected. Not clear: adjusted p 0.05 or above. Signs were set before."
    columns = ("measurement", "output", "expected", "found", "agrees", "ρ", "adjusted p")
    return Table(columns, rows, f"Expected signs, {related.split}", note)


def _found(expected: int, rho: Estimate, q: float) -> tuple[str, str]:
    """Sign found, and whether it agrees."""
    if q >= CLEAR:
        return "not clear", "not clear"
    sign = 1 if rho.value > 0 else -1
    return _SIGN[sign], "yes" if sign == expected else "no"


def _listed(related: Related) -> str:
    return ", ".join({"ecg_heart_rate": "heart rate"}.get(name, short_words(name)) for name in related.adjusted)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else decimal(p, 3)
