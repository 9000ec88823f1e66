"""What a user wants to know of an evaluated run, and the two sections that show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from smvae_training.evaluate.likelihood.summary import reach
from smvae_training.evaluate.report.figures import rises
from smvae_training.evaluate.report.html import (
    Answer,
    Section,
    columns_html,
    figure_html,
    percent,
    text_html,
    with_error,
)

SENSORS, DOUBT, SETUP = "What each sensor adds", "When it does not know", "Set-up"
MESSAGES = "What became of the messages"
REJECTED, LIVE = "What was rejected, and why?", "Is live equal to offline?"
Numbers = Mapping[str, Any]


def sensors_section(sensors: Numbers, groups: str = "held-out groups") -> Section:
    """Return what is lost without each sensor, and what each knows alone.

    Args:
        sensors: See `SensorValue.numbers`.
        groups: What its standard errors are over.
    """
    names, targets = list(sensors["loss"]), sensors["targets"]
    lost = {
        f"without {name}": lambda t, n=name: _rise(t["without"][n]) for name in _ranked(sensors)
    }
    alone = {f"{name} alone": lambda t, n=name: with_error(t["alone"][n]) for name in names}
    return Section(
        SENSORS,
        text_html(
            "The rise of the error when one sensor is taken away from all: mean over all targets "
            f"but itself, with standard errors over {groups}, paired record by record."
        )
        + figure_html(rises({f"without {name}": v for name, v in sensors["loss"].items()}))
        + columns_html("target", targets, lost, caption="rise of the error [%]")
        + columns_html(
            "target",
            targets,
            alone | {"all": lambda t: with_error(t["all"])},
            caption="error over that of the training mean; below 1 something is known",
        ),
    )


def doubt_section(sensors: Numbers) -> Section:
    """Return how far uncertainty follows the error, and what intervals hold on other groups."""
    targets = {name: {"unsure": value} for name, value in sensors["unsure"].items()}
    parts = [
        text_html(
            "Rank correlation, over records and subsets of sensors, of the latent's mean log "
            "variance and the error of what is predicted: 1 = it always knows when it is wrong, "
            "0 = never."
        ),
        columns_html("target", targets, {"rank correlation": lambda t: t["unsure"]}),
    ]
    if sensors["coverage"]:
        subsets = list(next(iter(sensors["coverage"].values())))
        shares = {
            label: {target: found.get(label) for target, found in sensors["coverage"].items()}
            for label in subsets
        }
        columns = {
            target: lambda row, t=target: percent(row[t]) if row[t] else ""
            for target in sensors["coverage"]
        }
        parts += [
            text_html(
                "90 % intervals of the linear probes, as wide as the errors in the other held-out "
                "groups ask for: the share that they hold in each group, ± standard error over "
                "groups. Below 90 % groups differ more than the model knows."
            ),
            columns_html("latent of", shares, columns),
        ]
    return Section(DOUBT, "".join(parts))


#: Column of `Counts` -> title.
_COUNTS = {
    "messages": "messages",
    "used": "used",
    "unused": "in no step",
    "late": "late",
    "duplicate": "duplicate",
    "short": "outside episodes",
}


def messages_section(messages: Numbers) -> Section | None:
    """Return what `smvae episodes` counted; None of data that no recording was converted to."""
    if not messages:
        return None
    columns: dict[str, Callable[[Any], Any]] = {
        title: itemgetter(key) for key, title in _COUNTS.items()
    }
    columns |= {
        "refused": lambda counts: _reasons(counts["refused"]),
        "the first refused": lambda counts: counts["first_refused"],
    }
    text = "Every message of the recordings, as `smvae episodes` counted it on each topic."
    return Section(MESSAGES, text_html(text) + columns_html("sensor", messages, columns))


def _reasons(refused: Mapping[str, int]) -> str:
    return ", ".join(f"{count} x {reason}" for reason, count in refused.items())


def answers_of(results: Numbers) -> list[Answer]:
    """Return the answers of an evaluation on recorded episodes."""
    return [
        *sensor_answers(results["sensors"]),
        _rejected(results["data"]),
        Answer(
            question=LIVE,
            text="Not asked here: record ~/latent beside the sensors and run `smvae audit BAG "
            "--bundle BUNDLE`.",
        ),
    ]


def sensor_answers(sensors: Numbers) -> list[Answer]:
    """Return the answers that errors with and without each sensor give."""
    return [
        Answer(question="Which sensor can I lose?", text=_lose(sensors), section=SENSORS),
        Answer(question="What does each sensor add?", text=_adds(sensors), section=SENSORS),
        Answer(question="How good is the latent?", text=_good(sensors), section=SENSORS),
        Answer(question="When does it not know?", text=_doubt(sensors), section=DOUBT),
    ]


def _ranked(sensors: Numbers) -> list[str]:
    """Return the sensors, the one that is missed least first; unknown ones last."""
    loss = sensors["loss"]
    return sorted(loss, key=lambda n: (not _known(loss[n]), loss[n]["mean"] or 0.0))


def _known(value: Numbers) -> bool:
    return value["mean"] is not None and value["mean"] == value["mean"]


def _rise(ratio: Numbers) -> str:
    rise = dict(ratio) | {"mean": ratio["mean"] - 1.0 if _known(ratio) else None}
    return with_error(rise, digits=1, scale=100.0)


def _clear(value: Numbers) -> bool:
    """Return whether the 95 % interval of a value lies above 0."""
    error = value["standard_error"]
    if not _known(value) or error is None or error != error:
        return False
    return bool(value["mean"] - reach(value["groups"]) * error > 0.0)


def _lose(sensors: Numbers) -> str:
    loss, ranked = sensors["loss"], _ranked(sensors)
    if not all(map(_known, loss.values())):
        return "Not known: too few records hold all sensors."
    if len(ranked) == 1:
        return "There is only one."
    said = ", ".join(f"{n} {with_error(loss[n], 1, 100.0)} %" for n in ranked)
    least = ranked[0]
    spare = [n for n in ranked if not _clear(loss[n])]
    if not spare:
        return f"None freely; {least} is missed least. Errors rise without it: {said}."
    return f"{', '.join(spare)} (no rise beyond chance). Errors rise without a sensor: {said}."


def _adds(sensors: Numbers) -> str:
    """Name the sensor that tells most of each target by itself."""
    said = []
    for target, found in sensors["targets"].items():
        alone = {n: r for n, r in found["alone"].items() if n != target and _known(r)}
        if alone:
            best = min(alone, key=lambda n: alone[n]["mean"])
            said.append(f"{target} {best} ({with_error(alone[best])})")
    return (
        f"Of each target most is told by, beside itself: {', '.join(said)}; error over the "
        "training mean's."
        if said
        else "Not known: too few records."
    )


def _good(sensors: Numbers) -> str:
    found = {t: f["all"] for t, f in sensors["targets"].items() if _known(f["all"])}
    if not found:
        return "Not known: too few records hold all sensors."
    told = sorted(found, key=lambda t: found[t]["mean"])
    said = ", ".join(f"{t} {with_error(found[t])}" for t in told)
    none = [t for t in told if found[t]["mean"] >= 1.0]
    tail = f" Nothing is known of {', '.join(none)}." if none else ""
    return f"Error from all sensors over the training mean's: {said}.{tail}"


def _doubt(sensors: Numbers) -> str:
    unsure = {t: v for t, v in sensors["unsure"].items() if v is not None and v == v}
    if not unsure:
        return "Not known: too few records."
    said = ", ".join(f"{t} {v:.2f}" for t, v in unsure.items())
    text = f"Its variance follows its error with rank correlation: {said}."
    held = {t: list(c.values())[-1] for t, c in sensors["coverage"].items() if c}
    covered = [f"{t} {percent(v)}" for t, v in held.items() if _known(v)]
    if covered:
        text += f" 90 % intervals from all sensors hold on other groups: {', '.join(covered)}."
    return text


def _rejected(data: Numbers) -> Answer:
    """Say what of the recordings was not kept, and what the scored records lack."""
    lacking, messages = _lacking(data), data.get("messages", {})
    if not messages:
        return Answer(question=REJECTED, text=lacking, section=SETUP)
    total = sum(c["messages"] for c in messages.values())
    said = []
    for name, counts in messages.items():
        lost = {key: counts[key] for key in ("late", "duplicate") if counts[key]}
        if parts := _reasons(lost | counts["refused"]):
            said.append(f"{name} {parts}")
    text = f"Of {total} recorded messages: {'; '.join(said)}." if said else ""
    text = text or f"None of {total} recorded messages."
    return Answer(question=REJECTED, text=f"{text} {lacking}", section=MESSAGES)


def _lacking(data: Numbers) -> str:
    lacking = data["lacking"]
    if not lacking:
        return f"Nothing: each of the {data['scored_records']} scored records holds every sensor."
    said = ", ".join(f"{n} {share:.1%}" for n, share in lacking.items())
    return f"Of {data['scored_records']} scored records these lack a sensor: {said}."
