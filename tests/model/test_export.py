"""Bundle against torch over all subsets; the runtime's promises; every way a bundle is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from smvae_core.bundle import Bundle
from smvae_core.errors import BundleError, ConfigError, EmptySubset, SampleError, UnknownModality
from smvae_core.modality import all_subsets
from smvae_core.model import SMVAE
from smvae_core.model.export import PARITY_TOLERANCE, check_parity, export_bundle
from smvae_core.novelty.scorer import NoveltyScorer
from smvae_core.preprocessing import normalise, prepare
from smvae_core.runtime import Runtime
from tests.model.conftest import example_statistics, small_config


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[SMVAE, Path]:
    torch.manual_seed(0)
    model = SMVAE(small_config())
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    return model, export_bundle(model, example_statistics(model), out, name="test")


@pytest.fixture
def bundle(exported, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported[1], tmp_path / "bundle"))


@pytest.mark.parametrize("subset", all_subsets(("rgb", "depth", "force", "action")), ids="+".join)
def test_onnxruntime_gives_torchs_posterior_and_reconstructions(exported, subset):
    model, path = exported
    model.eval()
    runtime = Runtime(path)
    samples = {m.name: m.example_sample(seed=5) for m in runtime.modalities if m.name in subset}
    got = runtime.infer(samples)
    batch = {
        name: torch.from_numpy(
            normalise(
                runtime.modality(name),
                runtime.manifest.statistics[name],
                prepare(runtime.modality(name), sample),
            )
        )[None]
        for name, sample in samples.items()
    }
    with torch.no_grad():
        expected = model.encode(batch, torch.tensor([[n in subset for n in model.names]]))
        decoded = model.decode(expected.mean)
    np.testing.assert_allclose(got.mean, expected.mean[0], atol=PARITY_TOLERANCE)
    np.testing.assert_allclose(got.log_var, expected.log_var[0], atol=PARITY_TOLERANCE)
    assert got.kl == pytest.approx(float(expected.kl()[0]), abs=1e-3)
    for name, output in decoded.items():
        raw = runtime.decode(name, expected.mean[0].numpy())
        np.testing.assert_allclose(raw, output[0], atol=PARITY_TOLERANCE)


def test_parity_is_measured_and_stored(exported):
    model, path = exported
    runtime = Runtime(path)
    stored = runtime.manifest.parity
    assert 0.0 < stored["max_difference"] <= stored["tolerance"] == PARITY_TOLERANCE
    with torch.no_grad():
        model.decoders["force"][0].weight.add_(0.5)
        assert check_parity(model, runtime)["max_difference"] > PARITY_TOLERANCE
        model.decoders["force"][0].weight.sub_(0.5)


@pytest.mark.parametrize("name", ["rgb", "force", "action"])
def test_a_nan_in_any_network_fails_parity_and_writes_nothing(tmp_path: Path, name: str):
    """The first decoder compared, one in the middle, and the last: none hides behind another."""
    torch.manual_seed(0)
    model = SMVAE(small_config())
    with torch.no_grad():
        next(model.decoders[name].parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match=rf"by inf .*not finite.* at {name} from"):
        export_bundle(model, example_statistics(model), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_parity_keeps_the_largest_difference_whatever_comes_after(exported, monkeypatch):
    """Torch and the runtime agree in all but one decoder, of one subset, where one is NaN."""
    model, path = exported
    runtime = Runtime(path)
    decode, calls = runtime.decode, iter(range(1000))

    def once_nan(name, mean):
        return decode(name, mean) + np.float32(np.nan if next(calls) == 5 else 0.0)

    monkeypatch.setattr(runtime, "decode", once_nan)
    assert check_parity(model.eval(), runtime)["max_difference"] == np.inf


def test_reconstructions_come_in_si_units_and_the_raw_layout(exported):
    runtime = Runtime(exported[1])
    mean = runtime.infer({"force": runtime.modality("force").example_sample()}).mean
    rgb, depth = runtime.reconstruct("rgb", mean), runtime.reconstruct("depth", mean)
    assert (rgb.shape, rgb.dtype) == ((32, 32, 3), np.uint8)
    assert (depth.shape, depth.dtype) == ((32, 32), np.float32)
    assert (depth >= 0).all()
    assert runtime.reconstruct("force", mean).shape == (32, 6)
    raw = runtime.decode("action", mean)
    np.testing.assert_allclose(runtime.reconstruct("action", mean), raw * 2.0 + 0.1, rtol=1e-5)


def test_an_embedding_is_reused_while_its_key_stays(exported):
    runtime = Runtime(exported[1])
    runtime.observe("action", np.zeros(4, np.float32), key=1)
    first = runtime.posterior(["action"]).mean
    runtime.observe("action", np.ones(4, np.float32), key=1)
    assert np.array_equal(runtime.posterior(["action"]).mean, first)
    runtime.observe("action", np.ones(4, np.float32), key=2)
    assert not np.array_equal(runtime.posterior(["action"]).mean, first)


def test_decoders_are_loaded_only_when_asked(exported):
    runtime = Runtime(exported[1])
    mean = runtime.infer({"action": np.zeros(4, np.float32)}).mean
    assert not any(role.startswith("decode/") for role in runtime._sessions.roles)
    runtime.reconstruct("depth", mean)
    assert [r for r in runtime._sessions.roles if r.startswith("decode/")] == ["decode/depth"]


@pytest.mark.parametrize("allowed", [False, True])
def test_onnxruntime_itself_starts_no_failed_run_anew(exported, allowed):
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

    class Failing:
        """The compiled half of a session whose provider fails."""

        def run(self, *_: object) -> None:
            raise EPFail("no memory")

        def is_webgpu_graph_capture_enabled(self) -> bool:
            return False

    runtime = Runtime(exported[1], allow_cpu_fallback=allowed)
    latent = np.zeros(runtime.manifest.latent_dim, np.float32)
    runtime.decode("action", latent)
    runtime._sessions._opened["decode/action"].session._sess = Failing()
    with pytest.raises(EPFail, match="no memory"):
        runtime.decode("action", latent)
    assert runtime.provider == "CPUExecutionProvider"


def test_onnxruntime_says_where_every_node_runs(exported):
    version = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    if version < (1, 24):  # cannot tell, so nothing is said
        assert Runtime(exported[1]).nodes == {}
        return
    runtime = Runtime(exported[1])
    before = runtime.nodes
    assert set(before) == {"CPUExecutionProvider"}
    runtime.warm_up()  # loads the decoders
    assert runtime.nodes["CPUExecutionProvider"] > before["CPUExecutionProvider"] > 0


def test_a_runtime_that_saw_other_samples_before_gives_the_same_posteriors(exported):
    """Its arrays are the same ones for every sample; what it gave out of them is not."""
    used, given = Runtime(exported[1]), []
    for seed in range(3):
        fresh = Runtime(exported[1])
        for modality in used.modalities:
            sample = modality.example_sample(seed)
            used.observe(modality.name, sample)
            fresh.observe(modality.name, sample)
        for subset in all_subsets(used.manifest.names):
            expected, got = fresh.posterior(subset), used.posterior(subset)
            given += [(expected.mean, got.mean), (expected.log_var, got.log_var)]
    snapshot = used.snapshot(NoveltyScorer())
    before = used.posterior(("force",))
    used.observe("force", used.modality("force").example_sample(9))
    given.append((before.mean, snapshot.posteriors([("force",)])[0].mean))
    for expected, got in given:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(before.mean, used.posterior(("force",)).mean)


def test_a_graph_is_hashed_as_it_is_loaded_and_not_kept_twice(bundle: Path):
    runtime = Runtime(bundle)
    session = runtime._sessions._opened["set_encoder"].session
    content = (bundle / "set_encoder.onnx").read_bytes()
    kept = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert kept._model_bytes == content  # what onnxruntime does
    assert session._model_bytes is None
    (bundle / "decode_rgb.onnx").write_bytes((bundle / "decode_depth.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"decode_rgb\.onnx"):
        runtime.decode("rgb", np.zeros(runtime.manifest.latent_dim, np.float32))


def test_wrong_use_of_the_runtime_gets_one_clear_line(exported):
    runtime = Runtime(exported[1])
    with pytest.raises(EmptySubset, match="at least one"):
        runtime.posterior([])
    with pytest.raises(ConfigError, match="'rgb' was not observed"):
        runtime.posterior(["rgb"])
    with pytest.raises(UnknownModality, match="Did you mean 'force'"):
        runtime.observe("forces", np.zeros((32, 6), np.float32))
    with pytest.raises(SampleError, match=r"rgb: image: expected \(H, W, 3\) uint8"):
        runtime.observe("rgb", np.zeros((8, 8), np.uint8))
    with pytest.raises(SampleError, match="NaN or infinity"):
        runtime.observe("action", np.full(4, np.nan, np.float32))
    dim = runtime.manifest.latent_dim
    for wrong in ((dim - 1,), (1, dim)):
        with pytest.raises(ConfigError, match=rf"rgb is decoded from one latent \({dim},\), got"):
            runtime.reconstruct("rgb", np.zeros(wrong, np.float32))
    with pytest.raises(ConfigError, match="not available"):
        Runtime(exported[1], provider="tensorrt")
    with pytest.raises(ConfigError, match="unknown provider"):
        Runtime(exported[1], provider="tpu")  # type: ignore[arg-type]
    assert Runtime(exported[1], provider="tensorrt", allow_cpu_fallback=True).provider.startswith(
        "CPU"
    )


def test_a_tampered_graph_is_refused(bundle: Path):
    graph = bundle / "decode_rgb.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(bytes(data))
    with pytest.raises(BundleError, match=r"decode_rgb\.onnx was changed"):
        Runtime(bundle)


def test_a_truncated_or_missing_graph_is_refused(bundle: Path):
    graph = bundle / "embed_force.onnx"
    graph.write_bytes(graph.read_bytes()[:-10])
    with pytest.raises(BundleError, match="truncated or changed"):
        Bundle.load(bundle)
    graph.unlink()
    with pytest.raises(BundleError, match=r"embed_force\.onnx \(embed/force\) is missing"):
        Bundle.load(bundle)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format_version": 99}, "format 99 is newer than this runtime's"),
        ({"modalities": []}, "incomplete|not valid|changed"),
        ({"graphs": {}}, "incomplete: manifest names no graph for embed/rgb"),
        ({"statistics": {"rgb": 3}}, "not valid"),
        ({"surprise": 1}, "not valid"),
    ],
)
def test_a_wrong_manifest_is_refused(bundle: Path, edit: dict, message: str):
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    data.update(edit)
    if edit == {"modalities": []}:
        data["graphs"].pop("set_encoder")
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match=message):
        Bundle.load(bundle)


def test_a_bundle_gives_the_decoded_noise_scale_of_torch(tmp_path: Path):
    torch.manual_seed(0)
    model = SMVAE(small_config(decoded_noise=True)).eval()
    with torch.no_grad():
        for name in model.names:
            model.decoders[name].log_noise.weight.normal_(0.0, 2.0)
    path = export_bundle(model, example_statistics(model), tmp_path / "bundle")
    manifest = Bundle.load(path).manifest
    z = torch.randn(8)
    for modality in model.config.modalities:
        name = modality.name
        output = model.decode(z[None], [name])[name]
        x = model.reconstruct(z[None], [name])[name]  # at the mean log p is that of its scale
        log_p = model.log_likelihood(name, x, output).item()
        expected = np.exp(-log_p / modality.size) / np.sqrt(2.0 * np.pi)
        assert manifest.scale(name, z.numpy()) == pytest.approx(expected, rel=1e-5)
        assert manifest.scale(name, 0 * z.numpy()) == pytest.approx(0.3)
    plain = Runtime(export_bundle(SMVAE(small_config()), example_statistics(model), tmp_path / "b"))
    noisy = Runtime(path)
    for runtime in (plain, noisy):
        runtime.warm_up()
    assert noisy.nodes == plain.nodes, "a robot decodes no noise scale"
    data = json.loads((path / "manifest.json").read_text())
    data["decoded_noise"]["rgb"].pop()
    (path / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(BundleError, match="decoded_noise of rgb has 7 weights, latent_dim is 8"):
        Bundle.load(path)


def test_a_graph_outside_the_bundle_is_refused(bundle: Path):
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    data["graphs"]["set_encoder"]["file"] = "../set_encoder.onnx"
    path.write_text(json.dumps(data))
    with pytest.raises(BundleError, match="outside the bundle"):
        Bundle.load(bundle)


def test_export_leaves_the_callers_model_as_it_was(tmp_path: Path):
    torch.manual_seed(0)
    model = SMVAE(small_config()).double().train()
    model.embeddings["rgb"].eval()
    model.decoders["rgb"].requires_grad_(False)
    model.log_scale["force"].grad = torch.tensor(2.0, dtype=torch.float64)

    def state() -> list:
        modes = [(name, module.training) for name, module in model.named_modules()]
        return modes + [
            (name, id(p), p.dtype, p.device, p.requires_grad, p.grad is None, p.stride())
            for name, p in [*model.named_parameters(), *model.named_buffers()]
        ]

    before, weights = state(), {k: v.clone() for k, v in model.state_dict().items()}
    export_bundle(model, example_statistics(model), tmp_path / "bundle")
    assert state() == before
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        model.decoders["rgb"][0].weight.fill_(float("nan"))
    before = state()
    with pytest.raises(BundleError, match="not finite"):
        export_bundle(model, example_statistics(model), tmp_path / "bundle")
    assert state() == before


def test_no_bundle_at_all_is_refused_with_the_command_that_makes_one(tmp_path: Path):
    with pytest.raises(BundleError, match="smvae export"):
        Bundle.load(tmp_path / "nothing")
    with pytest.raises(BundleError, match="got an empty folder"):
        Bundle.load(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(tmp_path)


def test_exporting_over_something_else_is_refused(exported, tmp_path: Path):
    model, _ = exported
    (tmp_path / "precious.txt").write_text("data")
    with pytest.raises(BundleError, match="is not a bundle"):
        export_bundle(model, example_statistics(model), tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "data"


def test_the_robots_half_imports_no_torch(exported):
    """smvae_core's top level and the runtime work with torch made unimportable."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import smvae_core.runtime, smvae_core.fusion.collector, smvae_core.messages\n"
        "from smvae_core.runtime import Runtime\n"
        f"runtime = Runtime({str(exported[1])!r}); runtime.warm_up()\n"
        "assert not any(m.split('.')[0] == 'torch' and sys.modules[m] for m in list(sys.modules))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


def test_a_manifest_of_before_is_diagonal_and_what_is_no_covariance_is_refused(tmp_path: Path):
    model = SMVAE(small_config())
    path = export_bundle(model, example_statistics(model), tmp_path / "bundle") / "manifest.json"
    data = json.loads(path.read_text())
    assert "covariance" not in data  # so that runtimes of before still read it
    assert Bundle.load(path.parent).manifest.covariance == "diagonal"
    for value, accepted in (("full", True), ("banded", False)):
        path.write_text(json.dumps(data | {"covariance": value}))
        if accepted:
            assert Bundle.load(path.parent).manifest.to_json()["covariance"] == value
        else:
            with pytest.raises(BundleError, match="covariance must be diagonal or full, got 'ban"):
                Bundle.load(path.parent)
