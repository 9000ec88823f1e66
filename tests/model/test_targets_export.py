"""A bundle with targets: its graph, its calibration, and what `apply` says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smvae_core.bundle import MANIFEST, Bundle, add_readout
from smvae_core.errors import BundleError, ConfigError
from smvae_core.estimate_calibration import EstimateCalibration
from smvae_core.estimates import DRAWS, Estimates, bundle_decoder, decode_targets
from smvae_core.modality import all_subsets, subset_name
from smvae_core.model import SMVAE
from smvae_core.model.export import export_bundle
from smvae_core.model.targets import EveryTarget
from smvae_core.readout import Readout
from smvae_core.runtime import Runtime
from smvae_core.target import DecodedTarget
from tests.model.conftest import example_statistics, small_config
from tests.model.test_targets import CONTACT, OFFSET

NAMES = ("rgb", "depth", "force", "action")
CALIBRATION = EstimateCalibration(
    subsets={
        subset_name(s): {"offset": np.array([2.0, 1.5]), "contact": np.array([1.0])}
        for s in all_subsets(NAMES)
    }
    | {"force": {"offset": np.array([np.nan, 1.5]), "contact": np.array([np.nan])}},
    names=NAMES,
    fitted={"records": 7},
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SMVAE, Path]:
    torch.manual_seed(0)
    model = SMVAE(small_config(targets=(OFFSET, CONTACT))).eval()
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    return model, export_bundle(model, example_statistics(model), out, estimates=CALIBRATION)


@pytest.fixture
def bundle(exported, tmp_path: Path) -> Bundle:
    return Bundle.load(shutil.copytree(exported[1], tmp_path / "bundle"))


def test_the_graph_gives_torchs_numbers(exported) -> None:
    model, path = exported
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    found = bundle_decoder(Bundle.load(path))(z.numpy())
    with torch.no_grad():
        expected = EveryTarget(model.targets)(z)
    assert found[0].shape == (5, 3)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_manifest_and_calibration_come_back(bundle: Bundle) -> None:
    assert bundle.manifest.targets == (OFFSET, CONTACT)
    found = bundle.estimate_calibration()
    assert found.fitted == CALIBRATION.fitted
    for subset in all_subsets(NAMES):
        for target in ("offset", "contact"):
            np.testing.assert_array_equal(
                found.factor(subset, target), CALIBRATION.factor(subset, target)
            )


def test_an_estimate_is_the_mean_over_the_posterior_with_its_whole_covariance(
    bundle: Bundle, exported
) -> None:
    """Against many independent draws of the same posterior."""
    mean, variance = np.linspace(-1, 1, 8), np.full(8, 0.05)
    found = Estimates.of_bundle(bundle).apply(("rgb", "force"), mean, variance)
    z = torch.from_numpy(np.random.default_rng(3).normal(mean, np.sqrt(variance), (20000, 8)))
    with torch.no_grad():
        m, log_var = exported[0].targets["offset"](z.float())
        yes = torch.sigmoid(exported[0].targets["contact"](z.float())[0]).mean()
    deviation = np.array(OFFSET.deviation)
    value = OFFSET.mean + deviation * m.mean(0).numpy()
    covariance = np.cov(m.numpy().T) + np.diag(log_var.exp().mean(0).numpy())
    scale = deviation * np.array([2.0, 1.5])
    offset, contact = found["offset"], found["contact"]
    np.testing.assert_allclose((offset.value - value) / deviation, 0.0, atol=0.02)
    np.testing.assert_allclose(offset.covariance / np.outer(scale, scale), covariance, atol=0.02)
    np.testing.assert_allclose(offset.std, np.sqrt(np.diagonal(offset.covariance)))
    np.testing.assert_allclose(contact.value, [float(yes)], atol=0.01)
    assert np.isnan(contact.std).all()
    assert offset.reason == contact.reason == ""


def test_a_runtime_has_them_in_its_own_sessions(bundle: Bundle) -> None:
    latent = np.linspace(-1, 1, 8), np.full(8, 0.05)
    runtime = Runtime(bundle)
    runtime.warm_up()
    found = runtime.estimates.apply(("rgb", "force"), *latent)
    expected = Estimates.of_bundle(bundle).apply(("rgb", "force"), *latent)
    np.testing.assert_array_equal(found["offset"].covariance, expected["offset"].covariance)


def test_equal_latents_give_equal_estimates(bundle: Bundle) -> None:
    pair = [Estimates.of_bundle(bundle).apply(("rgb",), np.ones(8), np.ones(8)) for _ in range(2)]
    np.testing.assert_array_equal(pair[0]["offset"].covariance, pair[1]["offset"].covariance)


def test_what_a_subset_cannot_tell_is_nan_and_says_why(bundle: Bundle) -> None:
    found = Estimates.of_bundle(bundle).apply(("force",), np.zeros(8), np.full(8, 1e-4))
    offset = found["offset"]
    assert np.isnan(offset.value).tolist() == [True, False]
    assert np.isnan(offset.covariance).tolist() == [[True, True], [True, False]]
    assert offset.reason == "x: force tells no more than the training mean"
    assert np.isnan(found["contact"].value).all()


def test_what_is_as_unsure_as_the_data_differ_is_nan(exported) -> None:
    wide = replace(CALIBRATION, subsets={"rgb": {"offset": np.array([99.0, 1.0])}})
    decode = bundle_decoder(Bundle.load(exported[1]))
    found = Estimates((OFFSET,), wide, decode).apply(("rgb",), np.zeros(8), np.full(8, 1e-4))
    assert np.isnan(found["offset"].value).tolist() == [True, False]
    assert found["offset"].reason == "x: as unsure as the training records differ"


def test_numbers_that_are_none_are_not_known_and_say_so() -> None:
    """A network that overflows gives no NaN without a reason."""
    factor = {s: {"offset": np.ones(2), "contact": np.ones(1)} for s in ("rgb",)}

    def decode(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means = np.zeros((len(z), 3))
        means[:, 0] = np.where(z[:, 0] > 0, np.inf, -np.inf)
        means[:, 2] = np.nan
        return means, np.full((len(z), 3), -2.0)

    told = Estimates((OFFSET, CONTACT), EstimateCalibration(subsets=factor), decode)
    with np.errstate(invalid="ignore"):
        found = told.apply(("rgb",), np.zeros(8), np.ones(8))
    assert np.isnan(found["offset"].value).tolist() == [True, False]
    assert found["offset"].reason == "x: as unsure as the training records differ"
    assert found["contact"].reason == "0: as unsure as the training records differ"


def test_many_sensors_have_a_function_of_which_are_present(exported) -> None:
    weights = {"offset": np.zeros((7, 2)), "contact": np.zeros((7, 1))}
    weights["offset"][0] = np.log([2.0, 4.0])
    weights["offset"][2] = 1.0  # of log n
    general = EstimateCalibration(names=NAMES, any_subset=weights)
    np.testing.assert_allclose(general.factor(("rgb", "force"), "offset"), [4.0, 8.0])
    parsed = EstimateCalibration.parse(general.to_bytes(), Path("estimates.json"))
    np.testing.assert_allclose(parsed.factor(("rgb", "force"), "offset"), [4.0, 8.0])
    with pytest.raises(ConfigError, match="no calibration of 'wrist', have any of rgb"):
        general.factor(("wrist",), "offset")


def test_draws_are_antithetic_and_of_variance_one() -> None:
    """A target that is linear in z has exactly the value of the mean, and its variance."""
    target = DecodedTarget(name="t", mean=(0.0,), deviation=(1.0,))
    found = decode_targets(
        (target,),
        lambda z: (z[:, :1], np.full((len(z), 1), -np.inf)),
        np.array([[3.0, 0.0]]),
        np.array([[0.25, 1.0]]),
    )
    np.testing.assert_allclose(found["t"].value, [[3.0]], rtol=1e-6)
    np.testing.assert_allclose(found["t"].covariance, [[[0.25]]], rtol=1e-6)
    assert DRAWS % 2 == 0


def test_a_readout_leaves_the_calibration(bundle: Bundle) -> None:
    added = add_readout(bundle, Readout(targets={}, subsets={}))
    assert added.manifest.estimates == bundle.manifest.estimates


@pytest.mark.parametrize("file", ["estimates.json", "targets.onnx"])
def test_a_changed_file_is_refused(bundle: Bundle, file: str) -> None:
    path = bundle.path / file
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleError, match=f"{file} was changed"):
        Bundle.load(bundle.path)


def test_a_bundle_without_its_graph_is_incomplete(bundle: Bundle) -> None:
    path = bundle.path / MANIFEST
    data = json.loads(path.read_text())
    data["graphs"].pop("targets")
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match="no graph for targets"):
        Bundle.load(bundle.path)


def test_without_targets_or_calibration_the_bundle_says_so(exported, tmp_path: Path) -> None:
    model, _ = exported
    plain = export_bundle(model, example_statistics(model), tmp_path / "plain")
    with pytest.raises(BundleError, match=r"not calibrated: `smvae export RUN BUNDLE --data"):
        Estimates.of_bundle(Bundle.load(plain))
    other = SMVAE(small_config())
    bare = Bundle.load(export_bundle(other, example_statistics(other), tmp_path / "bare"))
    assert not {"targets", "estimates"} & set(json.loads((bare.path / MANIFEST).read_text()))
    with pytest.raises(BundleError, match="decodes no targets"):
        bundle_decoder(bare)


def test_latents_of_another_form_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"expected mean and variance \(Z,\)"):
        Estimates.of_bundle(bundle).apply(("rgb",), np.zeros((1, 8)), np.ones((1, 8)))


def test_a_damaged_calibration_is_named() -> None:
    with pytest.raises(ConfigError, match=r"e.json: is no calibration"):
        EstimateCalibration.parse(b"{", Path("e.json"))
    with pytest.raises(ConfigError, match=r"e.json: expected format 1, got 9"):
        EstimateCalibration.parse(b'{"format": 9}', Path("e.json"))
