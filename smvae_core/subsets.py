"""Which subsets of a model's sensors are run where work grows with their number.

M sensors have 2^M - 1 subsets. Warm-up, parity, novelty, readout and evaluation share this choice.
"""

from __future__ import annotations

from random import Random

from smvae_core.modality import all_subsets

#: Up to this many sensors every subset is run, beyond it this many subsets.
FEW_SENSORS, MOST_SUBSETS = 6, 64
#: Drawn subsets, however many are run by rule.
LEAST_DRAWN = 16


def evaluated_subsets(
    names: tuple[str, ...], seed: int = 0, most: int = MOST_SUBSETS
) -> list[tuple[str, ...]]:
    """Return the subsets to run, smallest first, each in declared order.

    All of them up to six sensors. Beyond: each sensor alone, all but each one, all, and further
    ones drawn without replacement, uniform in their size and then in their members, up to `most`.

    Args:
        names: Of all sensors, in declared order.
        seed: Of the draws; the same names and seed give the same subsets.
        most: Number of subsets, but never fewer drawn ones than LEAST_DRAWN.
    """
    if len(names) <= FEW_SENSORS:
        return all_subsets(names)
    rest = [tuple(n for n in names if n != name) for name in names]
    found = dict.fromkeys([*((name,) for name in names), *rest, names])
    random, total = Random(seed), max(most, len(found) + LEAST_DRAWN)
    while len(found) < total:
        chosen = random.sample(range(len(names)), random.randint(2, len(names) - 2))
        found[tuple(names[i] for i in sorted(chosen))] = None
    return sorted(found, key=lambda s: (len(s), [names.index(name) for name in s]))
