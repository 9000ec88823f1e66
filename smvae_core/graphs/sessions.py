"""The onnxruntime sessions of a bundle: asked for one provider, honest about the one they got.

onnxruntime goes on elsewhere when a provider cannot be had: it takes the next one in silence where
a provider's libraries do not load, and its Python half starts a failed session or run anew on the
CPU. Here the second is off, the first is found out, and what is allowed instead is done in view.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from numpy import float32
from numpy.typing import NDArray

from smvae_core.bundle import Bundle
from smvae_core.errors import BundleError, ConfigError, MissingDependency

logger = logging.getLogger(__name__)

Provider = Literal["cpu", "cuda", "tensorrt"]
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
#: onnxruntime's names, best first: what one cannot run goes to the next.
PROVIDERS: dict[str, str] = {"tensorrt": TENSORRT, "cuda": CUDA, "cpu": CPU}
_RANKED = tuple(PROVIDERS.values())


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where networks are to run and what they may take; see `Runtime` for each."""

    provider: Provider = "cpu"
    allow_cpu_fallback: bool = False
    threads: int = 1
    device_id: int = 0
    gpu_mem_limit_mb: float = 0.0

    def options(self, name: str) -> dict[str, str]:
        """Return the options of one of onnxruntime's providers."""
        if name == CPU:
            return {}
        options = {"device_id": str(self.device_id)}
        if name == CUDA:
            # The default runs every algorithm of each convolution once, with the workspace of the
            # hungriest: seconds and memory, where shapes are fixed and a network takes a
            # millisecond. This one asks cuDNN which is best and runs none.
            options["cudnn_conv_algo_search"] = "HEURISTIC"
            if self.gpu_mem_limit_mb:
                options["gpu_mem_limit"] = str(round(self.gpu_mem_limit_mb * 1e6))
                # An arena that grows to the next power of two meets its limit half empty.
                options["arena_extend_strategy"] = "kSameAsRequested"
        return options


@dataclass(frozen=True)
class _Opened:
    """One session and what was found out about it."""

    session: Any
    provider: str
    """The best one that it has."""
    nodes: Mapping[str, int]
    """How many nodes of the graph each provider runs; empty = this onnxruntime cannot tell."""


class Sessions:
    """One session for each graph of a bundle, created when first needed."""

    def __init__(self, bundle: Bundle, placement: Placement) -> None:
        """Find the provider; sessions come later.

        Args:
            bundle: Verified; each graph is hashed again as it is read.
            placement: Where to run.

        Raises:
            ConfigError: If the provider is unknown or cannot be had.
            MissingDependency: If onnxruntime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as err:
            raise MissingDependency("onnxruntime", "cpu' or 'smvae[gpu]") from err
        self._ort = onnxruntime
        self._bundle, self._placement = bundle, placement
        self._opened: dict[str, _Opened] = {}
        self._chain = self._choose()

    @property
    def version(self) -> str:
        return f"onnxruntime {self._ort.__version__}"

    @property
    def roles(self) -> tuple[str, ...]:
        """Graphs that have a session."""
        return tuple(self._opened)

    @property
    def provider(self) -> str:
        """The provider really used, by onnxruntime's name: the worst over all sessions."""
        used = [opened.provider for opened in tuple(self._opened.values())]
        return max(used, key=_RANKED.index, default=self._chain[0])

    @property
    def nodes(self) -> dict[str, int]:
        """How many nodes of all sessions each provider runs; empty before onnxruntime 1.24."""
        total: Counter[str] = Counter()
        for opened in tuple(self._opened.values()):
            total.update(opened.nodes)
        return dict(total)

    def open(self, role: str) -> None:
        """Create the session of one graph, unless there is one.

        Raises:
            BundleError: If the graph was changed or cannot be loaded.
            ConfigError: If the session would not run on the provider that was asked for.
        """
        if role not in self._opened:
            self._opened[role] = self._create(role, self._chain)

    def is_dynamic(self, role: str, name: str) -> bool:
        """Whether one graph takes an input of any number of rows."""
        self.open(role)
        of = {given.name: given.shape for given in self._opened[role].session.get_inputs()}
        return not isinstance(of[name][0], int)

    def run(self, role: str, **inputs: NDArray[Any]) -> list[NDArray[float32]]:
        """Run one graph.

        A provider that fails ends the run with its error. Where the CPU is allowed, this graph
        goes on for good on the next provider, and `provider` says so.
        """
        self.open(role)
        opened = self._opened[role]
        try:
            outputs: list[NDArray[float32]] = opened.session.run(None, inputs)
        except self._ort.capi.onnxruntime_pybind11_state.EPFail as err:
            if not self._placement.allow_cpu_fallback or opened.provider == CPU:
                raise
            logger.warning("%s failed on %s and goes on without: %s", role, opened.provider, err)
            rest = opened.session.get_providers()[1:]
            self._opened[role] = self._create(role, _but_the_cpu(rest))
            return self.run(role, **inputs)
        return outputs

    def bound(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[NDArray[float32]]
    ) -> Callable[[], object]:
        """Return a run of one graph on arrays that stay where they are; one thread may call it.

        On the CPU nothing is converted or copied. Elsewhere it is an ordinary `run`: onnxruntime
        would copy inputs to the device once, when they are bound.

        Args:
            role: Graph.
            inputs: By name, contiguous; each run reads what they hold then.
            outputs: In the graph's order, contiguous; each run writes them.
        """
        self.open(role)
        session = self._opened[role].session
        if self._opened[role].provider != CPU:
            return partial(self._run_into, role, inputs, outputs)
        binding = session.io_binding()
        for name, given in inputs.items():
            binding.bind_cpu_input(name, given)
        for found, into in zip(session.get_outputs(), outputs, strict=True):
            binding.bind_output(found.name, "cpu", 0, float32, into.shape, into.ctypes.data)
        arrays = (*inputs.values(), *outputs)
        assert all(array.flags.c_contiguous for array in arrays), "copies would be bound"
        return partial(_run_bound, session, binding, arrays)

    def _run_into(
        self, role: str, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[NDArray[float32]]
    ) -> None:
        for into, found in zip(outputs, self.run(role, **inputs), strict=True):
            into[...] = found

    def _choose(self) -> list[str]:
        """Return the providers to ask for, best first; the CPU only where there is no other."""
        placement, available = self._placement, self._ort.get_available_providers()
        if placement.provider not in PROVIDERS:
            raise ConfigError(
                f"unknown provider '{placement.provider}', have {', '.join(sorted(PROVIDERS))}"
            )
        if placement.gpu_mem_limit_mb and placement.provider == "tensorrt":
            # Its allocator has no limit, and as the first provider's it serves CUDA's nodes too.
            raise ConfigError(
                f"gpu_mem_limit_mb {placement.gpu_mem_limit_mb:g} cannot be kept by provider "
                "'tensorrt': set it to 0, or use provider 'cuda'"
            )
        wanted = PROVIDERS[placement.provider]
        if wanted not in available and not placement.allow_cpu_fallback:
            raise ConfigError(
                f"provider '{placement.provider}' is not available: this onnxruntime has "
                f"{', '.join(available)}; install 'smvae[gpu]', or allow the CPU by "
                "allow_cpu_fallback"
            )
        behind = _RANKED[_RANKED.index(wanted) :]
        return _but_the_cpu([name for name in behind if name in available])

    def _create(self, role: str, chain: list[str]) -> _Opened:
        """Create a session on these providers, or on the next ones where that is allowed."""
        file = self._bundle.manifest.graphs[role].file
        asked = [(name, self._placement.options(name)) for name in chain]
        content = self._bundle.read_graph(role)
        try:
            session = self._ort.InferenceSession(
                content, self._session_options(), providers=asked, enable_fallback=0
            )
        except (ValueError, RuntimeError) as err:
            # Of a provider that cannot start; what is wrong with a graph has onnxruntime's types.
            if chain == [CPU]:
                raise BundleError(self._bundle.path, f"{file} cannot be loaded: {err}") from err
            self._refuse_unless_allowed(file, chain, str(err).strip(), err)
            self._chain = _but_the_cpu(chain[1:])
            return self._create(role, self._chain)
        except Exception as err:  # onnxruntime raises its own untyped errors
            where = f"{file} cannot be loaded on {', '.join(chain)}"
            raise BundleError(self._bundle.path, f"{where}: {err}") from err
        # It would keep the graph as long as the session, to start anew on the CPU: never here.
        session.disable_fallback()  # what older ones heed, in the place of enable_fallback
        session._model_bytes = None
        used = session.get_providers()
        if any(name not in used for name in chain):
            self._refuse_unless_allowed(file, chain, f"onnxruntime fell back to {', '.join(used)}")
            self._chain = _but_the_cpu(used)
        return _Opened(session, used[0], _nodes(session))

    def _refuse_unless_allowed(
        self, file: str, chain: list[str], reason: str, err: Exception | None = None
    ) -> None:
        """Raise, or say that something else is used because that is allowed."""
        text = f"{file}: asked for {', '.join(chain)}: {reason}"
        if self._placement.allow_cpu_fallback:
            logger.warning("%s; going on, as allow_cpu_fallback says", text)
            return
        raise ConfigError(
            f"{text}; mend the driver or its libraries, or allow the CPU by allow_cpu_fallback"
        ) from err

    def _session_options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._placement.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return options


def _run_bound(session: Any, binding: Any, _: tuple[NDArray[Any], ...]) -> None:
    """Run on what is bound; onnxruntime holds no more than the arrays' addresses."""
    session.run_with_iobinding(binding)


def _but_the_cpu(names: list[str]) -> list[str]:
    """Return what to ask for: onnxruntime adds the CPU itself, and warns of nodes it gets there."""
    return [name for name in names if name != CPU] or [CPU]


def _nodes(session: Any) -> dict[str, int]:
    """Return how many nodes of a session's graph each provider was given; empty = not told."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    count: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        count[part.ep_name] += len(part.get_nodes())
    return dict(count)
