"""One preprocessing for episodes and for the robot: units, ranges, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from smvae_core.errors import ConfigError, SampleError
from smvae_core.preprocessing import (
    Statistics,
    measure_statistics,
    normalise,
    prepare,
    restore,
)
from smvae_core.presets import VISION_TOUCH

RGB, DEPTH, FORCE, ACTION = VISION_TOUCH


def test_colour_is_area_averaged_to_the_networks_side_and_scaled_to_one():
    image = np.zeros((128, 128, 3), np.uint8)
    image[::2, :, 0] = 200  # every second row red: the area mean is 100
    prepared = prepare(RGB, image)
    assert (prepared.shape, prepared.dtype) == ((3, 64, 64), np.uint8)
    assert (prepared[0] == 100).all()
    assert not prepared[1:].any()
    assert normalise(RGB, Statistics(), prepared).max() == pytest.approx(100 / 255)


def test_depth_is_the_mean_over_valid_pixels_only():
    depth = np.full((128, 128), 0.5, np.float32)
    depth[0, 0] = np.nan
    depth[0, 1] = 0.0
    depth[1, 0] = 3.0  # beyond the range
    depth[2:4, 2:4] = 0.0
    prepared = prepare(DEPTH, depth)
    assert prepared[0, 0, 0] == pytest.approx(0.5)
    assert prepared[0, 1, 1] == 0.0
    assert prepared[0, 5, 5] == pytest.approx(0.5)
    np.testing.assert_array_equal(prepare(DEPTH, depth[:, :, None]), prepared)


def test_force_keeps_the_last_32_of_50_readings_channels_first():
    window = np.arange(50 * 6, dtype=np.float32).reshape(50, 6)
    prepared = prepare(FORCE, window)
    assert prepared.shape == (6, 32)
    np.testing.assert_array_equal(prepared, window[18:].T)


@pytest.mark.parametrize("modality", [FORCE, ACTION], ids=lambda m: m.name)
def test_statistics_standardise_per_channel_and_restore_inverts(modality):
    rng = np.random.default_rng(0)
    scale = np.arange(1, modality.shape[0] + 1, dtype=np.float32)
    scale = scale.reshape(-1, *[1] * (len(modality.shape) - 1))
    x = rng.normal(3.0, 2.0, (500, *modality.shape)).astype(np.float32) * scale
    statistics = measure_statistics(modality, x)
    z = normalise(modality, statistics, x)
    axes = tuple(i for i in range(z.ndim) if i != 1)
    np.testing.assert_allclose(z.mean(axes), 0.0, atol=1e-4)
    np.testing.assert_allclose(z.std(axes), 1.0, atol=1e-4)
    np.testing.assert_allclose(restore(modality, statistics, z), x, rtol=1e-4, atol=1e-4)
    assert Statistics.from_json(statistics.to_json()) == statistics


def test_the_authors_tanh_is_available_by_name_and_inverts_below_saturation():
    x = np.random.default_rng(0).normal(0.0, 1.0, (5, 6, 32)).astype(np.float32)
    statistics = measure_statistics(FORCE, x, "tanh")
    z = normalise(FORCE, statistics, x)
    np.testing.assert_allclose(z, np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(restore(FORCE, statistics, z), x, atol=1e-3)
    assert (normalise(FORCE, statistics, np.full((6, 32), 20.0)) == 1.0).all()  # it saturates


def test_a_constant_channel_does_not_blow_up():
    statistics = measure_statistics(ACTION, np.full((10, 4), 0.5, np.float32))
    assert np.isfinite(normalise(ACTION, statistics, np.full(4, 0.5, np.float32))).all()


@pytest.mark.parametrize(
    ("modality", "sample", "message"),
    [
        (RGB, np.zeros((64, 64, 4), np.uint8), r"rgb: image: expected \(H, W, 3\) uint8"),
        (RGB, np.zeros((64, 64, 3), np.float32), "float32"),
        (RGB, np.zeros((0, 64, 3), np.uint8), r"got \(0, 64, 3\)"),
        (DEPTH, np.zeros((64, 64), np.uint16), "float32 metres"),
        (FORCE, np.zeros((31, 6), np.float32), r"\(at least 32, 6\), got \(31, 6\)"),
        (FORCE, np.full((50, 6), np.inf, np.float32), "NaN or infinity"),
        (ACTION, np.zeros(3, np.float32), r"expected \(4,\), got \(3,\)"),
        (ACTION, np.array(list("abcd")), "dtype"),
    ],
)
def test_a_wrong_sample_is_refused_by_name(modality, sample, message):
    with pytest.raises(SampleError, match=message):
        prepare(modality, sample)
    with pytest.raises(SampleError, match=message):
        modality.family.check_sample(modality, sample)


def test_impossible_statistics_are_refused():
    with pytest.raises(ConfigError, match="positive scale"):
        Statistics(mean=(0.0,), scale=(0.0,))
    with pytest.raises(ConfigError, match="2 means for 1 scales"):
        Statistics(mean=(0.0, 1.0), scale=(1.0,))
    with pytest.raises(ConfigError, match="1 statistics for 6 channels"):
        normalise(FORCE, Statistics(), np.zeros((6, 32), np.float32))


def test_statistics_of_a_large_set_are_put_together_from_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A drifting signal, so that parts differ in their means; rows in any order."""
    force = VISION_TOUCH[2]
    drift = np.linspace(-50.0, 50.0, 1000)[:, None, None]
    noise = np.random.default_rng(0).normal(size=(1000, *force.shape))
    samples = (drift + noise * np.arange(1, 7)[:, None]).astype(np.float32)
    rows = np.random.default_rng(1).permutation(1000)[:700]
    whole = measure_statistics(force, samples, rows=rows)
    assert whole == measure_statistics(force, samples[rows])
    monkeypatch.setattr("smvae_core.preprocessing.CHUNK", 64)
    parts = measure_statistics(force, samples, rows=rows)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-12)
    expected = samples[rows].astype(np.float64).std(axis=(0, 2))
    np.testing.assert_allclose(parts.scale, expected, rtol=1e-12)
