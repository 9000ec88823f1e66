"""Tables and the picture of closed-loop results: shares seated, and paired differences.

An operator's attempts with one number have the same cell, start and aim whatever the method and the
failure. So a difference is taken of each number, averaged over operators, and its interval is over
numbers: see `mean_within`. For the same reason attempts of three operators are not three times as
many independent ones: see `seated_share`. Methods that perceive nothing have one cell per operator,
which stands for every failure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks.closed_loop.store import Store
from benchmarks.tables.markdown import table
from smvae_datasets.simulation.closed_loop.failures import DECIDING, FAILURES
from smvae_datasets.simulation.closed_loop.outcome import Outcome
from smvae_datasets.simulation.stick_operator import OPERATORS

#: Methods that perceive nothing, in the order of the tables.
WITHOUT_SENSORS = ("alone", "blind", "ceiling")
#: Learned baselines; the oracles know which subset is alive, and nobody else does.
LEARNED, ORACLE = ("concat", "router", "poe"), "oracle"
BASELINES = (*LEARNED, ORACLE)
#: Files of this beginning are of the other simulator, see `benchmarks.door`.
ELSEWHERE = "door-"
#: The cell of methods that perceive nothing.
ALIVE = "all alive"
COLOURS = (
    *("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3"),
    *("#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"),
)


def read_stores(folder: Path) -> dict[str, Store]:
    """Return the results of every method: without sensors, ours and others, baselines."""
    paths = {p.stem.removeprefix("closed-loop-"): p for p in folder.glob("closed-loop-*.json")}
    paths = {name: p for name, p in paths.items() if not name.startswith(ELSEWHERE)}
    others = sorted(paths.keys() - {*WITHOUT_SENSORS, *BASELINES})
    order = [m for m in (*WITHOUT_SENSORS, *others, *BASELINES) if m in paths]
    return {name: Store(paths[name], {}) for name in order}


def section(folder: Path) -> str:
    """Return the part of RESULTS.md: all tables, or that nothing was run yet."""
    stores = read_stores(folder)
    title = "## Closed loop: pegs seated in the simulated cell"
    if not stores:
        return f"{title}\n\nNot run yet."
    about = (
        "`python -m benchmarks.closed_loop METHODS`. Seated: the tip 28 mm below the edge within "
        "20 s. Shares have a 95 % interval (Wilson's) and are of all operators together. Attempts "
        "of one number share their cell, so they do not count as independent. Differences are in "
        "points, with a 95 % interval over attempts of one number (after Agresti and Min), whose "
        "count stands behind. alone: the operator within the limits; blind: the controller without "
        "estimates; ceiling: with the truth. concat, router, poe: learned baselines, see "
        "[what they are](../docs/decisions/assistance.md); oracle: a network for each subset; "
        "where they played fewer attempts than ours, only the paired differences compare them. "
        "[What the operators are, and how the controller works](../docs/shared_autonomy.md)."
    )
    parts = [title, about, seated_table(stores), operator_table(stores)]
    if len(stores.keys() - {*WITHOUT_SENSORS}) > 1:
        parts += ["Belief off sideways at the touch, median / 90 % [mm]:", belief_table(stores)]
    for name, store in stores.items():
        if name not in (*WITHOUT_SENSORS, *BASELINES):
            parts += [f"`{name}`, in points:", difference_table(stores, name), sensing_table(store)]
            if compared := verdicts(stores, name):
                parts.append(compared)
    return "\n\n".join(parts)


def wilson(share: float, count: float) -> tuple[float, float]:
    """Return the 95 % interval of a share of so many attempts, Wilson 1927.

    Args:
        share: Of the attempts, in [0, 1].
        count: Of independent attempts; need not be whole, see `Share.of_groups`.
    """
    z2 = norm.ppf(0.975) ** 2
    middle = (share + 0.5 * z2 / count) / (1.0 + z2 / count)
    half = math.sqrt(z2 * (share * (1.0 - share) / count + 0.25 * z2 / count**2)) / (
        1.0 + z2 / count
    )
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


class Share(NamedTuple):
    """How many attempts succeed, of how many, and the 95 % interval of that share."""

    seated: int
    attempts: int
    low: float
    high: float

    def __str__(self) -> str:
        low, high = 100 * self.low, 100 * self.high
        return f"{self.seated} of {self.attempts} ({low:.0f} to {high:.0f} %)"

    def percent(self) -> str:
        """Return it with the share in percent first."""
        share, low, high = (100 * x for x in (self.seated / self.attempts, self.low, self.high))
        return f"{share:.0f} % ({low:.0f} to {high:.0f}) of {self.attempts}"

    @classmethod
    def of_independent(cls, seated: int, attempts: int) -> Share:
        """Return the share of attempts that have no cell in common, with Wilson's interval."""
        return cls(seated, attempts, *wilson(seated / attempts, attempts))

    @classmethod
    def of_groups(cls, groups: Sequence[Sequence[bool]]) -> Share:
        """Return the share of attempts of which those of one group meet the same cell.

        k_c of the n_c attempts of group c succeed, n are those of all C groups. Wilson's interval
        is that of n' attempts, as many as are as uncertain (the effective sample size of Kish
        1965),

            n' = p (1 - p) / var,  var = C / (C - 1) sum_c (k_c - p n_c)^2 / n^2

        within C and n. Where p is 0 or 1 nothing is known of it, and n' is C.
        """
        k, counts = (np.array([f(of) for of in groups], float) for f in (sum, len))
        n, c = counts.sum(), len(groups)
        p = k.sum() / n
        spread = float(np.sum((k - p * counts) ** 2)) * c / max(c - 1, 1) / n**2
        effective = float(np.clip(p * (1.0 - p) / spread, c, n)) if spread else float(c)
        return cls(int(k.sum()), int(n), *wilson(p, effective))


def seated_share(
    store: Store, failure: str, operators: Iterable[str] = tuple(OPERATORS)
) -> Share | None:
    """Return the share seated under a failure, of some operators together; None without attempts.

    Attempts of one number meet the same cell.
    """
    cells = [outcomes_of(store, failure, operator) for operator in operators]
    numbers = sorted({number for cell in cells for number in cell})
    if not numbers:
        return None
    return Share.of_groups([[cell[c].seated for cell in cells if c in cell] for c in numbers])


def mean_within(each: NDArray[np.float64]) -> tuple[float, float, int]:
    """Return the mean of differences, the half width of its 95 % interval, and of how many.

    Each lies between -1 and 1, and most are 0. Where all of 20 are, their own variance would say
    that none ever differs. So two more are counted in it, as if half of 1, half of -1 and a 0 had
    been seen (Agresti and Min 2005); the interval is Student's t.
    """
    count = len(each)
    if count < 2:
        return math.nan, math.nan, count
    variance = (np.square(each).sum() + 1.0) / (count + 2) - (each.sum() / (count + 2)) ** 2
    half = float(student.ppf(0.975, count - 1)) * math.sqrt(variance / (count + 2))
    return float(each.mean()), half, count


def outcomes_of(store: Store, failure: str, operator: str) -> Mapping[int, Outcome]:
    """Return the attempts of a cell, of the one that stands for it where nothing is perceived."""
    own = failure if store.perceives else ALIVE
    return store.cells.get((own, operator), {})


def pooled(store: Store, failure: str) -> list[Outcome]:
    """Return the attempts of all operators under a failure."""
    return [o for operator in OPERATORS for o in outcomes_of(store, failure, operator).values()]


def failures_of(stores: Iterable[Store]) -> list[str]:
    """Return the failures that somebody who perceives met, and that nothing failed."""
    met = {failure for store in stores for failure, _ in store.cells} | {ALIVE}
    return [failure for failure in FAILURES if failure in met]


def paired_difference(
    ours: Store, theirs: Store, failure: str, other: str
) -> tuple[float, float, int]:
    """Return how much more we seat, the half width of its 95 % interval, and over how many numbers.

    Args:
        ours: Of a method.
        theirs: Of the other one, or the same.
        failure: Of ours.
        other: The failure of theirs.
    """
    by_number: dict[int, list[float]] = {}
    for operator in OPERATORS:
        a, b = outcomes_of(ours, failure, operator), outcomes_of(theirs, other, operator)
        for number in a.keys() & b.keys():
            difference = float(a[number].seated) - float(b[number].seated)
            by_number.setdefault(number, []).append(difference)
    return mean_within(np.array([np.mean(d) for d in by_number.values()]))


def points(difference: tuple[float, float, int]) -> str:
    """Return a `paired_difference` in points; empty where nothing is paired."""
    mean, half, count = difference
    return "" if math.isnan(mean) else f"{100 * mean:+.0f} ± {100 * half:.0f} ({count})"


def seated_table(stores: Mapping[str, Store]) -> str:
    """Return the share seated by method and failure, all operators together, with intervals."""
    rows = [
        [failure, *(_percent(seated_share(store, failure)) for store in stores.values())]
        for failure in failures_of(stores.values())
    ]
    return table(["failure", *stores], rows)


def operator_table(stores: Mapping[str, Store]) -> str:
    """Return of all sensors alive, by method and operator: seated, time, force, hand-overs."""
    rows = []
    for name, store in stores.items():
        for operator in OPERATORS:
            found = list(outcomes_of(store, ALIVE, operator).values())
            if not found:
                continue
            times = [o.time_s for o in found if o.seated]
            rows.append(
                [
                    name,
                    operator,
                    _percent(seated_share(store, ALIVE, [operator])),
                    f"{np.median(times):.1f}" if times else "",
                    f"{max(o.peak_n for o in found):.0f}",
                    f"{np.mean([o.hand_overs > 0 for o in found]) * 100:.0f} %",
                    str(sum(o.breaches for o in found)),
                ]
            )
    header = ["method", "operator", "seated", "median s", "peak N", "handed over", "beyond limits"]
    return table(header, rows)


def difference_table(stores: Mapping[str, Store], method: str) -> str:
    """Return by failure how much more a method seats than each other, and than with all alive."""
    ours, rows = stores[method], []
    others = [name for name in stores if name != method]
    for failure in FAILURES:
        if not pooled(ours, failure):
            continue
        cells = [paired_difference(ours, stores[o], failure, failure) for o in others]
        told = [points(c) for c in cells]
        itself = failure == ALIVE
        told.append("" if itself else points(paired_difference(ours, ours, failure, ALIVE)))
        rows.append([failure, *told])
    return table(["failure", *(f"minus {o}" for o in others), "minus all alive"], rows)


def verdicts(stores: Mapping[str, Store], method: str) -> str:
    """Return in how many deciding cells a method is best or tied, and each loss in a line.

    Tied: the 95 % interval of the paired difference holds 0. Losses are told of all cells. Where no
    learned baseline was played, the text is empty.
    """
    found = {
        (failure, other): paired_difference(stores[method], stores[other], failure, failure)
        for failure in FAILURES
        for other in LEARNED
        if other in stores
    }
    known = {cell: d for cell, d in found.items() if not math.isnan(d[0])}
    lost = {cell: d for cell, d in known.items() if d[0] + d[1] < 0.0}
    counts = [d[2] for cell, d in known.items() if cell[0] in DECIDING]
    if not counts:
        return ""
    held = len(counts) - sum(failure in DECIDING for failure, _ in lost)
    head = (
        f"`{method}` against learned baselines: best or tied (the interval holds 0) in {held} of "
        f"{len(counts)} deciding cells, over {min(counts)} to {max(counts)} attempts of one number."
    )
    lines = [f"- **Loss**, {f}: {points(d)} to {other}" for (f, other), d in lost.items()]
    return "\n".join([head, *(["", *lines] if lines else [])])


def belief_table(stores: Mapping[str, Store]) -> str:
    """Return by failure and method that perceives how far the belief was off at the touch."""
    perceiving = {name: s for name, s in stores.items() if s.perceives}
    rows = [
        [f, *(_quantiles([o.missed_mm for o in pooled(s, f)], 1) for s in perceiving.values())]
        for f in failures_of(perceiving.values())
    ]
    return table(["failure", *perceiving], rows)


def sensing_table(store: Store) -> str:
    """Return by failure what a method that perceives knew and said: errors, flags, hand-overs."""
    rows = []
    for failure in FAILURES:
        found = pooled(store, failure)
        if not found:
            continue
        failing = [o for o in found if not math.isnan(o.failed_s)] if failure != ALIVE else found
        flagged = np.mean([not math.isnan(o.flagged_s) for o in failing]) if failing else math.nan
        rows.append(
            [
                failure,
                _quantiles([o.missed_mm for o in found], 1),
                _quantiles([o.missed_rad for o in found], 3),
                "" if math.isnan(flagged) else f"{flagged * 100:.0f} %",
                f"{np.mean([o.hand_overs > 0 for o in found]) * 100:.0f} %",
                f"{max(o.peak_n for o in found):.0f}",
                str(sum(o.breaches for o in found)),
            ]
        )
    header = [
        "failure",
        "belief off at the touch, median / 90 % [mm]",
        "[rad]",
        "flagged before the touch",
        "handed over",
        "peak N",
        "beyond limits",
    ]
    return table(header, rows)


def comparable(stores: Mapping[str, Store]) -> dict[str, Store]:
    """Return what may stand side by side: without baselines that lack attempts of ours.

    Of other attempts than ours, shares beside each other would mislead.
    """
    played = {
        name: {(f, o, n) for f in DECIDING for o in OPERATORS for n in outcomes_of(store, f, o)}
        for name, store in stores.items()
    }
    others = (each for name, each in played.items() if name not in {*WITHOUT_SENSORS, *BASELINES})
    ours = set().union(*others)
    return {n: store for n, store in stores.items() if n not in BASELINES or played[n] >= ours}


def draw(stores: Mapping[str, Store], path: Path) -> None:
    """Draw the share seated by deciding failure and method, with 95 % intervals.

    Baselines stand in it once they are `comparable`.
    """
    stores = comparable(stores)
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9.0, 3.2), constrained_layout=True)
    names = [f for f in failures_of(stores.values()) if f in DECIDING]
    width = 0.8 / len(stores)
    for at, (method, store) in enumerate(stores.items()):
        x, shares, errors = [], [], []
        for position, failure in enumerate(names):
            if (found := seated_share(store, failure)) is None:
                continue
            share = found.seated / found.attempts
            x.append(position + (at - 0.5 * (len(stores) - 1)) * width)
            shares.append(share)
            errors.append((max(share - found.low, 0.0), max(found.high - share, 0.0)))
        colour = COLOURS[at % len(COLOURS)]
        axes.bar(x, shares, width, label=method, color=colour, yerr=np.transpose(errors))
    axes.set_xticks(range(len(names)), [n.replace(" ", "\n", 1) for n in names])
    axes.set_ylabel("pegs seated in 20 s")
    axes.set_ylim(0.0, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(stores), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _percent(found: Share | None) -> str:
    return "" if found is None else found.percent()


def _quantiles(values: Sequence[float], digits: int) -> str:
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return ""
    return f"{np.median(known):.{digits}f} / {np.quantile(known, 0.9):.{digits}f}"
