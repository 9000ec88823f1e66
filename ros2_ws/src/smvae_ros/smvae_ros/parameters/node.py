"""The node's parameters at run time: declared from the table, checked before they change, applied.

A new `bundle` may be set while the node is inactive. It is loaded and verified before the change is
accepted, so that a refusal leaves the old model in place; the executor serves nothing else
meanwhile, which is why an active node refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter as RosParameter

from smvae_core import settings
from smvae_core.errors import ConfigError, SMVAEError, one_line
from smvae_core.runtime import Runtime
from smvae_ros.infer import loading
from smvae_ros.lifecycle.guards import surviving
from smvae_ros.lifecycle.process import stop_requested
from smvae_ros.lifecycle.rclpy_versions import after_set
from smvae_ros.listen.message_types import message_class
from smvae_ros.parameters import sources as setting_sources
from smvae_ros.parameters.declared import declare

Phase = Literal["unconfigured", "inactive", "active", "finalized"]
Table = dict[str, settings.Parameter]


@dataclass(frozen=True)
class Prepared:
    """A model that is loaded and verified, and not yet in use."""

    runtime: Runtime
    table: Table
    """Of its modalities."""
    values: dict[str, Any]
    """Of every parameter in the table."""


class Host(Protocol):
    """What the parameters need of their node."""

    @property
    def phase(self) -> Phase:
        """What exists: nothing, a model, a running model; or that nothing will any more."""

    @property
    def bundle_sha256(self) -> str:
        """Of the bundle in use, '' without."""

    @property
    def remembers(self) -> bool:
        """Whether the bundle in use has a memory."""

    @property
    def stuck(self) -> str:
        """Why no model can be taken into use now; '' = one can."""

    def replace(self, prepared: Prepared) -> None:
        """Put another model in the place of the present one; only while inactive."""

    def apply(self, values: dict[str, Any]) -> None:
        """Use changed values."""


def _refused(reason: str, changes: list[RosParameter]) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


class NodeParameters:
    """Declares, checks and hands on; the checks refuse with a reason."""

    def __init__(self, node: Any, host: Host) -> None:
        """Declare the parameters that need no bundle.

        Args:
            node: The rclpy node.
            host: Who uses them, usually the same object.

        Raises:
            ConfigError: If a value given from outside has another type or is out of range.
        """
        self._node = node
        self._host = host
        self._prepared: Prepared | None = None
        self.table: Table = settings.table(())
        declare(node, self.table.values())
        node.add_on_set_parameters_callback(surviving(node, self._check, _refused))
        after_set(node, surviving(node, self._changed))

    def values(self) -> dict[str, Any]:
        """Return the value of every parameter in the table."""
        return {name: self._node.get_parameter(name).value for name in self.table}

    def prepare(self, changes: dict[str, Any] | None = None) -> Prepared:
        """Declare what the bundle's modalities need, check all values, and load the model.

        Args:
            changes: Values that are about to be set.

        Raises:
            SMVAEError: If the bundle cannot be used, or the values do not fit it.
        """
        changes = changes or {}
        base = {name: self._node.get_parameter(name).value for name in settings.table(())}
        base |= {name: value for name, value in changes.items() if name in base}
        bundle = loading.verified(base["bundle"], base["bundle_sha256"])
        manifest = bundle.manifest
        table = settings.table(manifest.modalities, manifest.parameters())
        declare(self._node, table.values())
        values = {name: self._node.get_parameter(name).value for name in table}
        values |= {name: table[name].default for name in self._outdated(table)}
        values |= {name: value for name, value in changes.items() if name in table}
        reason = self._contradiction(table, values, bundle.memory() is not None)
        if reason:
            raise ConfigError(reason)
        sources = settings.Settings.of(values, bundle.manifest.modalities).sources
        for name, source in sources.items():
            message_class(source.converter.message_type, f"modalities.{name}.message_type")
        self._node.get_logger().info(f"loading {bundle.path} on {values['provider']}")
        return Prepared(loading.load(bundle, values, stop_requested), table, values)

    def _contradiction(self, table: Table, values: dict[str, Any], remembers: bool) -> str:
        """Return why values cannot be used together, remapped topics included; '' = they can.

        Args:
            table: All parameters.
            values: Of every one of them.
            remembers: Whether the bundle has a memory.
        """
        return (
            self._no_topic(table, values)
            or settings.check(table, values, self._node.resolve_topic_name)
            or settings.check_memory(values, remembers)
        )

    def _no_topic(self, table: Table, values: dict[str, Any]) -> str:
        """Return which sensor's topic is no name of one, and why; '' = all are."""
        topics = (name for name, parameter in table.items() if parameter.reads is not None)
        for name in topics:
            if why := self._unresolved(values[name]):
                given = values[name]
                return f"{name} must name a topic, such as /camera/image, got '{given}': {why}"
        return ""

    def _unresolved(self, topic: str) -> str:
        try:
            self._node.resolve_topic_name(topic)
        except Exception as err:  # rclpy's own classes, which differ between releases
            return one_line(err).removeprefix("failed to resolve name: ").partition(", at /")[0]
        return ""

    def adopt(self, table: Table) -> None:
        """Make a prepared table the node's, and forget the modalities of another bundle."""
        outdated = self._outdated(table)
        self.table = table
        for name in outdated:
            self._node.undeclare_parameter(name)
            declare(self._node, [table[name]])
        self.forget_others()

    def _outdated(self, table: Table) -> list[str]:
        """Return what stands at the default of the present bundle where another one has its own."""
        given = setting_sources.given(self._node)
        return [
            name
            for name, parameter in self.table.items()
            if name in table
            and name not in given
            and parameter.default != table[name].default
            and self._node.get_parameter(name).value == parameter.default
        ]

    def forget_others(self) -> None:
        """Undeclare the modalities of any bundle but the one in use."""
        for name in list(self._node.get_parameters_by_prefix("modalities")):
            if f"modalities.{name}" not in self.table:
                self._node.undeclare_parameter(f"modalities.{name}")

    def ignored(self) -> dict[str, str]:
        """Return given parameters that nothing reads, and why, see `settings.unknown`."""
        given = setting_sources.given(self._node)
        found = settings.unknown(given, self.table)
        default = self.table["memory_s"].default
        if given.get("memory_s", default) not in (0.0, default) and not self._host.remembers:
            found["memory_s"] = "the bundle has no memory"
        return found

    def ignored_overrides(self) -> dict[str, str]:
        """Return given overrides of QoS that rclpy has not taken, and why, once it subscribed."""
        why = "only reliability, history and depth of absolute topics that it subscribes to may be"
        return {
            name: f"{why} overridden (qos_overrides.TOPIC.subscription.*)"
            for name in setting_sources.given(self._node)
            if name.startswith("qos_overrides.") and not self._node.has_parameter(name)
        }

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        """Refuse a change that cannot be, with the reason (called before it is made)."""
        self._prepared = None
        known = {p.name: p.value for p in changes if p.name in self.table}
        if not known or not all(self._node.has_parameter(name) for name in self.table):
            return SetParametersResult(successful=True)
        reason = self._refuse_now(known)
        if not reason and self._host.phase == "inactive" and "bundle" in known:
            reason = self._load(known)
        elif not reason:
            remembers = self._host.remembers or self._host.phase == "unconfigured"
            reason = self._contradiction(self.table, self.values() | known, remembers)
        return SetParametersResult(successful=not reason, reason=reason)

    def _refuse_now(self, known: dict[str, Any]) -> str:
        """Return why these parameters may not change in the present state, or ''."""
        phase = self._host.phase
        if phase == "finalized":
            return "the node is shut down, and nothing of it changes any more: start it anew"
        for name in known if phase != "unconfigured" else ():
            parameter = self.table[name]
            if parameter.live or (parameter.reloads and phase == "inactive"):
                continue
            states = "unconfigured or inactive" if parameter.reloads else "unconfigured"
            return f"{name} may change only while the node is {states}"
        wanted = known.get("bundle_sha256", "")
        if phase == "inactive" and "bundle" not in known and wanted:
            loaded = self._host.bundle_sha256
            if wanted != loaded:
                return (
                    f"bundle_sha256 is not that of the loaded bundle, {loaded}: set bundle in the "
                    "same call (set_parameters_atomically)"
                )
        return ""

    def _load(self, known: dict[str, Any]) -> str:
        """Load another bundle beside the present one; return why it cannot be used, or ''."""
        if self._host.stuck:
            return self._host.stuck
        try:
            self._prepared = self.prepare(known)
        except Exception as err:
            self.forget_others()
            reason = str(err) if isinstance(err, SMVAEError) else f"{type(err).__name__}: {err}"
            self._node.get_logger().error(f"bundle refused, the present one stays: {reason}")
            return reason
        return ""

    def _changed(self, changes: list[RosParameter]) -> None:
        """Use what was set (called after the change)."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self._host.replace(prepared)
        elif self._host.phase != "unconfigured" and any(p.name in self.table for p in changes):
            self._host.apply(self.values())
