"""What training hands to robots: manifest.json and one hashed ONNX graph per network.

A bundle may hold a readout of its latents too, readout.json, how its model's estimates of targets
are calibrated, estimates.json, and what the filter of its memory has learned, memory.npz; all are
hashed like a graph. MODEL_CARD.md says the same to a person, and is not.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smvae_core.errors import BundleError, ConfigError, SMVAEError
from smvae_core.estimate_calibration import ESTIMATES, EstimateCalibration
from smvae_core.files import git_lfs, naming
from smvae_core.memory.belief import FilterParameters
from smvae_core.modality import Modality
from smvae_core.model_card import CARD, model_card
from smvae_core.novelty.scale import Novelty
from smvae_core.novelty.suspicion import Suspicion
from smvae_core.preprocessing import Statistics
from smvae_core.readout import READOUT, Readout
from smvae_core.robot import Qos, Robot
from smvae_core.target import DecodedTarget
from smvae_core.what_is import what_is

logger = logging.getLogger(__name__)

#: Raised whenever an older runtime could misread a bundle: since 3 the set encoder may be in two,
#: since 4 the graph of a memory takes terms in place of embeddings.
FORMAT_VERSION = 4
#: Role of what the set encoder reads of each modality by itself; absent where it reads embeddings.
READ = "set_encoder/read"
#: A decoded noise scale stays within a factor of e^3 = 20 of the one at z = 0.
LARGEST_LOG_NOISE = 3.0
MANIFEST = "manifest.json"
MEMORY = "memory.npz"
#: Role of the graph that a bundle with a memory holds beside the others: what a belief says
#: (`Filter.inputs`) -> mean and log variance.
RECALL = "recall"
#: Role of the graph that a model with targets holds beside the others: z (N, Z) -> mean and log
#: variance (N, V) of all numbers of its targets, see `estimates.Decode`.
TARGETS = "targets"
#: Where `training` holds the robot's declaration, and the scales of suspicion.
_ROBOT, _SUSPICION = "robot", "suspicion"
#: Forms of a posterior's covariance; manifests of before say nothing, and mean the first.
DIAGONAL, FULL = "diagonal", "full"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One hashed file of a bundle, an ONNX graph as a rule."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about the model that a robot needs beside the graphs."""

    name: str
    modalities: tuple[Modality, ...]
    statistics: Mapping[str, Statistics]
    latent_dim: int
    embedding_dim: int
    graphs: Mapping[str, Graph]
    """By role: 'embed/<name>', 'set_encoder/read', 'set_encoder', 'decode/<name>', 'targets'."""
    noise_scale: Mapping[str, float]
    """Learned standard deviation of p(x_m given z), in normalised units; at z = 0 if decoded."""
    decoded_noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Where the standard deviation is decoded: the weights w of `scale`, Z numbers."""
    covariance: str = DIAGONAL
    """Of the posterior, see `ModelConfig.covariance`; a runtime gives the variances alone."""
    version: str = ""
    """Version of the code that wrote it."""
    created: str = ""
    """UTC, ISO 8601."""
    parity: Mapping[str, Any] = field(default_factory=dict)
    """Largest difference torch - onnxruntime over all subsets, and the tolerance."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Where the weights come from: preset, steps, seed, data."""
    novelty: Novelty | None = None
    """Scale and thresholds of the novelty score; None where it was not calibrated."""
    readout: Graph | None = None
    """Linear readout of the latent, readout.json; None where none was fitted."""
    memory: Graph | None = None
    """Parameters of the memory's filter, memory.npz; None where the model has no memory."""
    targets: tuple[DecodedTarget, ...] = ()
    """What the model decodes and never observes, in the order of the graph's numbers."""
    estimates: Graph | None = None
    """Calibration of what it says of them, estimates.json; None where it was not calibrated."""
    robot: Robot | None = None
    """Declaration of the robot that its sensors are of; None where nobody declared one. In the
    file it is `training.robot`, where runtimes of before it read past it."""
    suspicion: Suspicion | None = None
    """Scales and limits of `suspects`; None where they were not calibrated. In the file it is
    `training.suspicion`, for the same reason."""
    format_version: int = FORMAT_VERSION

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(m.name for m in self.modalities)

    def parameters(self) -> dict[str, bool | int | float | str]:
        """Return the node's parameters that its robot is declared with, by full name."""
        return self.robot.parameters() if self.robot is not None else {}

    def qos(self) -> dict[str, Qos]:
        """Return how the topic of each sensor is subscribed to, where its robot is declared."""
        sensors = self.robot.sensors if self.robot is not None else ()
        return {sensor.name: sensor.channel.qos for sensor in sensors}

    def scale(self, name: str, z: NDArray[np.floating]) -> float:
        """Return the standard deviation of p(x_m given z (Z,)), in normalised units.

        exp(L tanh(w . z / L)) times the scale at 0, L = `LARGEST_LOG_NOISE`.
        """
        weights = self.decoded_noise.get(name)
        if weights is None:
            return self.noise_scale[name]
        log_noise = float(np.dot(weights, z))
        bounded = LARGEST_LOG_NOISE * math.tanh(log_noise / LARGEST_LOG_NOISE)
        return self.noise_scale[name] * math.exp(bounded)

    def to_json(self) -> dict[str, Any]:
        data = {k: getattr(self, k) for k in self.__dataclass_fields__}
        data["modalities"] = [m.to_json() for m in self.modalities]
        data["statistics"] = {k: s.to_json() for k, s in self.statistics.items()}
        data["graphs"] = {k: vars(g) for k, g in self.graphs.items()}
        # absent, not null: a bundle without them reads as it always did
        for name in ("novelty", "readout", "memory", "robot", "suspicion", "targets", "estimates"):
            data.pop(name)
        if self.robot is not None:
            data["training"] = {**data["training"], _ROBOT: self.robot.to_json()}
        if self.suspicion is not None:
            data["training"] = {**data["training"], _SUSPICION: self.suspicion.to_json()}
        if not self.decoded_noise:
            data.pop("decoded_noise")
        if self.covariance == DIAGONAL:
            data.pop("covariance")
        if self.novelty is not None:
            data["novelty"] = self.novelty.to_json()
        if self.readout is not None:
            data["readout"] = vars(self.readout)
        if self.memory is not None:
            data["memory"] = vars(self.memory)
        if self.targets:
            data["targets"] = [target.to_json() for target in self.targets]
        if self.estimates is not None:
            data["estimates"] = vars(self.estimates)
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Rebuild a manifest, also one of an older format, which is of the newest from here on."""
        values = {**data, "format_version": FORMAT_VERSION}
        values["modalities"] = tuple(Modality.from_json(m) for m in values["modalities"])
        values["statistics"] = {k: Statistics.from_json(s) for k, s in values["statistics"].items()}
        values["graphs"] = {k: Graph(**g) for k, g in values["graphs"].items()}
        noise = values.get("decoded_noise", {})
        values["decoded_noise"] = {k: tuple(map(float, w)) for k, w in noise.items()}
        for name, weights in values["decoded_noise"].items():
            if len(weights) != values["latent_dim"]:
                raise ConfigError(
                    f"decoded_noise of {name} has {len(weights)} weights, latent_dim is "
                    f"{values['latent_dim']}"
                )
        if values.get("covariance", DIAGONAL) not in (DIAGONAL, FULL):
            raise ConfigError(
                f"covariance must be {DIAGONAL} or {FULL}, got '{values['covariance']}'"
            )
        if values.get("novelty") is not None:
            values["novelty"] = Novelty.from_json(values["novelty"])
        values["targets"] = tuple(map(DecodedTarget.from_json, values.get("targets", ())))
        for name in ("readout", "memory", "estimates"):
            if values.get(name) is not None:
                values[name] = Graph(**values[name])
        training = dict(values.get("training", {}))
        if (scales := training.pop(_SUSPICION, None)) is not None:
            values["suspicion"], values["training"] = Suspicion.from_json(scales), training
        if (declared := training.pop(_ROBOT, None)) is not None:
            robot = values["robot"] = Robot.from_json(declared)
            values["modalities"] = robot.channels_of(values["modalities"])
            values["training"] = training
        return cls(**values)


def roles(names: tuple[str, ...], *, memory: bool = False, targets: bool = False) -> list[str]:
    """Return the roles of the graphs that a bundle of these modalities must hold."""
    found = [f"embed/{n}" for n in names] + ["set_encoder"] + [f"decode/{n}" for n in names]
    further = {RECALL: memory, TARGETS: targets}
    return found + [role for role, needed in further.items() if needed]


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of manifest.json, which holds the hashes of all graphs."""

    def read_graph(self, role: str) -> bytes:
        """Return a graph's content, hashed as it was read: what is checked is what is used.

        Raises:
            BundleError: If the file is gone, or was changed since the bundle was loaded.
        """
        return _verified(self.path, role, self.manifest.graphs[role])

    def readout(self) -> Readout:
        """Return the linear readout of the latent.

        Raises:
            BundleError: If the bundle has none, or it cannot be read.
        """
        if self.manifest.readout is None:
            raise BundleError(
                self.path, "has no readout; `smvae readout BUNDLE --data EPISODES` fits one"
            )
        content = _verified(self.path, "readout", self.manifest.readout)
        try:
            return Readout.parse(content, self.path / self.manifest.readout.file)
        except ConfigError as err:
            raise BundleError(self.path, str(err)) from err

    def estimate_calibration(self) -> EstimateCalibration:
        """Return how the estimates of the model's targets are calibrated.

        Raises:
            BundleError: If it has none, or it cannot be read.
        """
        graph = self.manifest.estimates
        if graph is None:
            raise BundleError(
                self.path,
                "its estimates are not calibrated: `smvae export RUN BUNDLE --data EPISODES` does "
                "it for a model with targets (`smvae train --data.targets all`)",
            )
        content = _verified(self.path, "estimates", graph)
        try:
            return EstimateCalibration.parse(content, self.path / graph.file)
        except ConfigError as err:
            raise BundleError(self.path, str(err)) from err

    def memory(self) -> FilterParameters | None:
        """Return what the memory's filter has learned; None where the model has no memory.

        Raises:
            BundleError: If it cannot be read.
        """
        graph = self.manifest.memory
        if graph is None:
            return None
        content = _verified(self.path, "memory", graph)
        try:
            return FilterParameters.parse(content, self.path / graph.file)
        except ConfigError as err:
            raise BundleError(self.path, str(err)) from err

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Read and verify a bundle: format, completeness, and the hash of every graph.

        Raises:
            BundleError: If it is missing, incomplete, tampered with or newer than this code.
        """
        folder = Path(path)
        _recover(folder)
        manifest_path = folder / MANIFEST
        if not folder.exists():
            raise BundleError(folder, "no such folder; `smvae export RUN BUNDLE` writes one")
        if not manifest_path.is_file():
            what = f"expected a folder that `smvae export RUN BUNDLE` wrote, got {what_is(folder)}"
            raise BundleError(folder, what)
        try:
            content = manifest_path.read_bytes()
        except OSError as err:
            raise BundleError(folder, f"{MANIFEST} cannot be read: {err}") from err
        manifest = _manifest(folder, content)
        held = {"memory": manifest.memory is not None, "targets": bool(manifest.targets)}
        wanted = roles(manifest.names, **held)
        missing = [r for r in wanted if r not in manifest.graphs]
        if missing:
            raise BundleError(
                folder, f"incomplete: manifest names no graph for {', '.join(missing)}"
            )
        for role, graph in manifest.graphs.items():
            _verified(folder, role, graph)
        for role in ("readout", "memory", "estimates"):
            if (graph := getattr(manifest, role)) is not None:
                _verified(folder, role, graph)
        return cls(folder, manifest, hashlib.sha256(content).hexdigest())


def _manifest(folder: Path, content: bytes) -> Manifest:
    try:
        data = json.loads(content.decode("utf-8"))
        found = data["format_version"]
    except (ValueError, KeyError, TypeError) as err:
        raise BundleError(folder, f"{MANIFEST} cannot be read: {err}") from err
    if not isinstance(found, int) or found > FORMAT_VERSION:
        raise BundleError(
            folder,
            f"format {found} is newer than this runtime's {FORMAT_VERSION}: update smvae_core",
        )
    if found < FORMAT_VERSION and data.get("memory") is not None:
        raise BundleError(
            folder,
            f"its memory is of format {found}, which no runtime reads any more: `smvae export RUN "
            "BUNDLE` again",
        )
    try:
        return Manifest.from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError, SMVAEError) as err:
        raise BundleError(folder, f"{MANIFEST} is not valid: {err}") from err


def _verified(folder: Path, role: str, graph: Graph) -> bytes:
    """Return the content of one file of a bundle, after comparing it with the manifest."""
    path = folder / graph.file
    if path.resolve().parent != folder.resolve():
        raise BundleError(folder, f"{role} lies outside the bundle: {graph.file}")
    if not path.is_file():
        raise BundleError(folder, f"incomplete: {graph.file} ({role}) is missing")
    size = path.stat().st_size
    if size != graph.bytes:
        raise BundleError(
            folder,
            f"{graph.file} has {size} bytes, the manifest {graph.bytes}: "
            f"{git_lfs(path) or 'truncated or changed'}",
        )
    try:
        content = path.read_bytes()
    except OSError as err:
        raise BundleError(folder, f"{graph.file} ({role}) cannot be read: {err}") from err
    found = hashlib.sha256(content).hexdigest()
    if found != graph.sha256:
        raise BundleError(
            folder,
            f"{graph.file} was changed: SHA-256 {found[:12]}, manifest {graph.sha256[:12]}",
        )
    return content


def write_bundle(
    out: Path,
    manifest: Manifest,
    graphs: Mapping[str, Path | bytes],
    *,
    readout: Readout | None = None,
    memory: FilterParameters | None = None,
    estimates: EstimateCalibration | None = None,
) -> Bundle:
    """Write a bundle atomically: all of it appears under `out`, or nothing does.

    A bundle that is there is moved aside, not removed, until the new one stands in its place. What
    a crash leaves between the two moves is put back by the next `load` or write.

    Args:
        out: Folder to write; an existing bundle there is replaced.
        manifest: Without `graphs`, which are hashed here.
        graphs: ONNX file of each role, to be copied in, or its content.
        readout: Of this model's latents.
        memory: Of its filter, where the model has a memory.
        estimates: Of this model's targets.

    Raises:
        BundleError: If `out` holds something that is not a bundle, or a role is missing.
    """
    held = {"memory": memory is not None, "targets": bool(manifest.targets)}
    missing = [r for r in roles(manifest.names, **held) if r not in graphs]
    if missing:
        raise BundleError(out, f"no graph for {', '.join(missing)}")
    _recover(out)
    if out.exists() and not (out / MANIFEST).is_file():
        raise BundleError(out, "exists and is not a bundle; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with naming(out), _workshop(out) as temporary:
        entries = {}
        for role, source in graphs.items():
            content = source.read_bytes() if isinstance(source, Path) else source
            entries[role] = _write(temporary / (role.replace("/", "_") + ".onnx"), content)
        further: dict[str, Any] = {READOUT: readout, MEMORY: memory, ESTIMATES: estimates}
        written = {
            file: content and _write(temporary / file, content.to_bytes())
            for file, content in further.items()
        }
        whole = replace(
            manifest,
            graphs=entries,
            readout=written[READOUT],
            memory=written[MEMORY],
            estimates=written[ESTIMATES],
        )
        _write(temporary / CARD, model_card(whole).encode())
        _write(temporary / MANIFEST, f"{json.dumps(whole.to_json(), indent=2)}\n".encode())
        temporary.chmod(0o755)
        _swap(temporary, out)
    return Bundle.load(out)


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """Make a hidden folder beside `out`, which is gone afterwards; first remove what others left.

    Who writes in one locks it. The lock ends with the process, the folder may not.
    """
    for left in out.parent.glob(f".{glob.escape(out.name)}.*.part"):
        if (free := _locked(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(free)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as err:
        err.filename = str(out.parent)  # it names the hidden folder, which nobody asked for
        raise
    lock = _locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Lock a folder; None = another process has it, or this file system locks none."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # gone
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _swap(new: Path, out: Path) -> None:
    """Put a folder in the place of another, which is whole at one of two places at any moment."""
    aside = _aside(out)
    if out.exists():
        shutil.rmtree(aside, ignore_errors=True)  # of a crash after its successor stood
        os.replace(out, aside)
    try:
        os.replace(new, out)
    except BaseException:
        _recover(out)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _aside(out: Path) -> Path:
    """Return where a bundle waits while its successor takes its place."""
    return out.with_name(f".{out.name}.replaced")


def _recover(out: Path) -> None:
    """Put a bundle back that a crash left aside.

    Raises:
        BundleError: If it cannot be moved.
    """
    aside = _aside(out)
    if out.exists() or not aside.is_dir():
        return
    try:
        os.replace(aside, out)
    except OSError as err:
        raise BundleError(out, f"an export was cut short; move {aside} back: {err}") from err
    logger.warning("bundle %s: an export was cut short, the bundle before it is back", out)


def add_readout(bundle: Bundle, readout: Readout) -> Bundle:
    """Write a readout into a bundle, in place of the one that is there; return the new bundle.

    Raises:
        BundleError: If a graph was changed since the bundle was loaded.
    """
    return _rewritten(bundle, bundle.path, bundle.manifest, {}, readout)


def with_graphs(
    bundle: Bundle, out: Path, graphs: Mapping[str, bytes], parity: Mapping[str, Any]
) -> Bundle:
    """Write a bundle with some other graphs to `out`, and return it.

    Args:
        bundle: What all else is taken from.
        out: Folder to write, that of `bundle` too.
        graphs: By role.
        parity: What is known of them, beside what the manifest says.

    Raises:
        BundleError: If a graph was changed since the bundle was loaded.
    """
    manifest = replace(bundle.manifest, parity={**bundle.manifest.parity, **parity})
    readout = bundle.readout() if bundle.manifest.readout is not None else None
    return _rewritten(bundle, out, manifest, graphs, readout)


def _rewritten(
    bundle: Bundle,
    out: Path,
    manifest: Manifest,
    graphs: Mapping[str, bytes],
    readout: Readout | None,
) -> Bundle:
    before = {role: bundle.read_graph(role) for role in bundle.manifest.graphs}
    calibrated = bundle.manifest.estimates is not None
    return write_bundle(
        out,
        manifest,
        {**before, **graphs},
        readout=readout,
        memory=bundle.memory(),
        estimates=bundle.estimate_calibration() if calibrated else None,
    )


def _write(path: Path, content: bytes) -> Graph:
    """Write a file so that it outlives a power cut, and return its entry in the manifest."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Graph(file=path.name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
