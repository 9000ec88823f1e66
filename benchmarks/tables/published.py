"""Table 1 of the paper as printed; its rows contradict themselves and are no target.

Labels are discrete, so log p(x,y) <= log p(x) for every item, and log p(x|y), which is
log p(x,y) - log p(y), exceeds log p(x,y). Rows that break either are marked by `contradictions`.
"""

from __future__ import annotations

#: log p(x,y), log p(x), log p(x|y) under q(z|x,y), then under q(z|x); None where not given.
Row = tuple[float | None, ...]

TABLE_1: dict[str, dict[str, Row]] = {
    "MNIST": {
        "SMVAE": (-83.41, -89.38, -86.45, -83.46, -89.09, -86.47),
        "JMVAE": (-91.03, -90.962, -88.43, -90.76, -90.69, -88.69),
        "MVAE": (-90.85, -90.616, -88.55, -90.85, -90.61, -88.56),
        "MMVAE": (-91.53, -91.23, -90.64, -91.75, -91.11, -90.01),
        "MoPoE": (-90.16, -90.29, None, -91.36, -91.77, None),
    },
    "Fashion-MNIST": {
        "SMVAE": (-225.10, -230.81, -232.85, -225.14, -232.36, -232.84),
        "JMVAE": (-232.70, -232.40, -230.65, -232.94, -232.63, -230.39),
        "MVAE": (-233.01, -232.54, -230.69, -233.01, -232.53, -230.69),
        "MMVAE": (-235.37, -233.16, -231.32, -231.25, -235.18, -237.64),
    },
    "CelebA": {
        "SMVAE": (-6000.95, -6087.91, -6085.31, -6025.38, -6080.86, -6084.94),
        "JMVAE": (-6238.28, -6234.54, -6235.33, -6242.19, -6237.97, -6231.46),
        "MVAE": (-6241.62, -6237.10, -6235.36, -6242.03, -6236.92, -6234.95),
        "MMVAE": (-6513.43, -6560.57, -6516.14, -6255.45, -6284.28, -6290.74),
    },
}


def contradictions(row: Row) -> list[str]:
    """Return which rules a row breaks, e.g. 'log p(x,y) > log p(x)'."""
    found = []
    for joint, marginal, conditional in (row[:3], row[3:]):
        if joint is None or marginal is None:
            continue
        if not joint <= marginal:
            found.append("log p(x,y) > log p(x)")
        if conditional is not None and not conditional >= joint:
            found.append("log p(x|y) < log p(x,y)")
    return sorted(set(found))
