"""The filter of precisions against what is known exactly: Gaussian processes and their conditions.

A Gaussian process of kernel exp(-|dt| / T) is an Ornstein-Uhlenbeck process; conditioned on every
reading at once, by one solution of a linear system, it knows nothing of stamps or recursions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from smvae_core.model.memory.belief import believe

#: Rates of sensors in Hz, and their noise.
RATES_HZ = (10.0, 30.0, 100.0, 1000.0, 10.0, 30.0, 100.0, 1000.0)
NOISES = (0.2, 0.3, 0.7, 2.0, 0.5, 0.4, 1.0, 3.0)
TIMES_S = np.array([0.1, 0.5, 3.0])
SEEN_S = 0.3
#: So short that no reading repeats the one before.
INDEPENDENT_S = 1e-6


def readings(sensors: int, silent_s: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return each sensor's ages: SEEN_S of them up to its silence, with a gap."""
    found = []
    for rate, silent in zip(RATES_HZ[:sensors], silent_s, strict=False):
        every = silent + (np.arange(int(SEEN_S * rate)) + rng.uniform()) / rate
        found.append(every[(every < silent + 0.1) | (every > silent + 0.2)])
    return found


def gaussian_process(
    ages: list[np.ndarray], values: list[np.ndarray], time_s: float
) -> tuple[float, float]:
    """Return mean and variance at age 0 given all readings of a process of variance 1."""
    age, value = np.concatenate(ages), np.concatenate(values)
    noise = np.concatenate([np.full(len(a), s) for a, s in zip(ages, NOISES, strict=False)])
    kernel = np.exp(-np.abs(age[:, None] - age) / time_s) + np.diag(noise**2)
    now = np.exp(-age / time_s)
    weights = np.linalg.solve(kernel, now)
    return float(weights @ value), float(1.0 - weights @ now)


def filtered(ages: list[np.ndarray], values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the filter with the exact parameters, for all of TIMES_S."""
    stamps = np.unique(np.concatenate([*ages, [0.0]]))[::-1]
    log_power = torch.full((1, len(stamps), len(ages), 3), -math.inf, dtype=torch.float64)
    mean = torch.zeros_like(log_power)
    for sensor, (age, value) in enumerate(zip(ages, values, strict=True)):
        at = torch.from_numpy(np.searchsorted(-stamps, -age))
        log_power[0, at, sensor] = -2.0 * math.log(NOISES[sensor])
        mean[0, at, sensor] = torch.from_numpy(value)[:, None].expand(-1, 3)
    elapsed = torch.from_numpy(-np.diff(stamps, prepend=stamps[0]))[None]
    still = torch.zeros(1, len(stamps), 3, dtype=torch.float64)
    times = torch.from_numpy(TIMES_S)
    repeat = torch.full((len(ages), 3), INDEPENDENT_S, dtype=torch.float64)
    log_precision, found = believe(
        log_power, mean, still, elapsed, torch.ones_like(times), times, repeat
    )
    return found[0].numpy(), (1.0 / (1.0 + log_precision.exp()))[0].numpy()


@pytest.mark.parametrize("silence", ["none", "one by one", "together"])
@pytest.mark.parametrize("sensors", [1, 2, 4, 8])
def test_with_the_exact_parameters_the_filter_is_kalmans(sensors: int, silence: str):
    rng = np.random.default_rng(sensors)
    for age_s in (0.0, 0.02, 0.3, 1.0, 2.0):
        silent = np.zeros(sensors)
        if silence != "none":
            silent[:] = age_s if silence == "together" else rng.uniform(0.0, age_s, sensors)
        ages = readings(sensors, silent, rng)
        values = [rng.normal(size=len(a)) for a in ages]
        mean, variance = filtered(ages, values)
        for i, time_s in enumerate(TIMES_S):
            exact = gaussian_process(ages, values, time_s)
            np.testing.assert_allclose((mean[i], variance[i]), exact, atol=1e-5)


def test_what_moved_since_moves_the_mean_of_what_is_known():
    """A way of 0.3 between a sure reading and now: z is there, and as sure as it was."""
    one = torch.ones(1, dtype=torch.float64)
    log_power = torch.tensor([[[[9.0]], [[-math.inf]]]], dtype=torch.float64)
    mean = torch.tensor([[[[0.5]], [[0.0]]]], dtype=torch.float64)
    shift = torch.tensor([[[7.0], [0.3]]], dtype=torch.float64)
    elapsed = torch.tensor([[5.0, 1.0]], dtype=torch.float64)
    log_precision, found = believe(log_power, mean, shift, elapsed, one, 1e6 * one, one[None])
    sure = math.exp(9.0) / (1.0 + math.exp(9.0))
    assert float(found) == pytest.approx(0.8 * sure, rel=1e-4)
    assert float(log_precision) == pytest.approx(9.0, rel=1e-2)


@pytest.mark.parametrize("exponent", [0.25, 1.0, 4.0, 64.0])
def test_a_sensor_that_repeats_itself_is_counted_once(exponent: float):
    """At c -> infinity its last reading replaces those before; at c -> 0 each one counts."""
    a = torch.tensor([exponent], dtype=torch.float64)
    log_power = torch.full((1, 10, 1, 1), exponent * 0.7, dtype=torch.float64)
    mean = torch.arange(10, dtype=torch.float64).view(1, 10, 1, 1)
    still, elapsed = torch.zeros(1, 10, 1, dtype=torch.float64), 1e-3 * torch.ones(1, 10)
    for repeat_s, count, told in ((1e9, 1.0, 9.0), (1e-9, 10.0, 4.5)):
        repeat = torch.tensor([[repeat_s]], dtype=torch.float64)
        log_precision, found = believe(log_power, mean, still, elapsed, a, 1e9 * a, repeat)
        assert float(log_precision) == pytest.approx(0.7 + math.log(count) / exponent, abs=1e-6)
        precision = math.exp(float(log_precision))
        assert float(found) == pytest.approx(told * precision / (1.0 + precision), rel=1e-5)


@pytest.mark.parametrize("exponent", [0.25, 0.7, 1.0, 3.0, 64.0])
def test_nothing_overflows_at_any_age_and_precision(exponent: float):
    rng = np.random.default_rng(3)
    a = torch.tensor([exponent], dtype=torch.float64, requires_grad=True)
    sizes = torch.tensor([1.0, 100.0, 1e5], dtype=torch.float64)
    for size in sizes:
        log_power = (size * torch.from_numpy(rng.normal(size=(50, 40, 2, 1)))).requires_grad_(True)
        mean = torch.from_numpy(rng.normal(size=(50, 40, 2, 1))).requires_grad_(True)
        shift = torch.from_numpy(rng.normal(size=(50, 40, 1)))
        elapsed = torch.from_numpy(10.0 ** rng.uniform(-6, 4, (50, 40)))
        times = torch.tensor([0.01], dtype=torch.float64, requires_grad=True)
        repeat = torch.tensor([[1e-4], [10.0]], dtype=torch.float64, requires_grad=True)
        log_precision, found = believe(log_power, mean, shift, elapsed, a, times, repeat)
        assert bool(found.isfinite().all())
        assert bool((found.abs() < 1e3).all())
        (found.sum() + torch.nn.functional.softplus(log_precision).sum()).backward()
        for x in (log_power, mean, a, times, repeat):
            assert x.grad is not None
            assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("latents", [3, 5, 8, 13, 64])
def test_single_precision_is_close_to_double(latents: int):
    """A sensor that comes last: what it had told before is nothing, and rounding keeps it so."""
    torch.manual_seed(latents)
    shape = (3, 12, 4, latents)
    log_power = torch.where(torch.rand(shape) < 0.5, torch.randn(shape), -torch.inf)
    log_power[:, :, 0] = -torch.inf
    log_power[:, -1, 0] = 0.3
    given = (
        log_power,
        torch.randn(shape),
        0.1 * torch.randn(3, 12, latents),
        2.0 * torch.rand(3, 12),
        0.5 + torch.rand(latents),
        torch.full((latents,), 2.7),
        torch.full((4, latents), 0.5),
    )
    single = believe(*given)
    double = believe(*(x.double() for x in given))
    for a, b in zip(single, double, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-4, rtol=1e-4)


def test_a_silence_beyond_all_times_leaves_nothing():
    """exp(-dt / T) is nothing a hundred times over: what faded first must not stay."""
    log_power = torch.full((1, 2, 1, 1), 1.0, dtype=torch.float64)
    log_power[:, 1] = -torch.inf
    mean, shift = torch.full_like(log_power, 3.0), torch.zeros(1, 2, 1, dtype=torch.float64)
    elapsed_s = torch.tensor([[0.0, 1e5]], dtype=torch.float64)
    for exponent in (0.5, 1.0, 7.0):
        a, time, repeat = (torch.tensor([x]).double() for x in (exponent, 1e-3, 0.5))
        log_precision, told = believe(
            log_power, mean, shift, elapsed_s, a, time, repeat.unsqueeze(0)
        )
        assert log_precision.item() < -1e4
        assert abs(told.item()) < 1e-12
