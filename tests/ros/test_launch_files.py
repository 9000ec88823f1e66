"""Launch files read as source: held to their promises also where no `launch` is installed.

What only `launch` can show is in ros2_ws/src/smvae_ros/test/test_launch.py.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ros2_ws/src/smvae_ros"
PERCEPTION = PACKAGE / "launch/perception.launch.py"
FILES = sorted([*PACKAGE.glob("launch/*.launch.py"), *(ROOT / "launch").glob("*.launch.py")])
#: What would run an argument as code, or do something before the nodes start.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "PythonExpression", "Command"),
    *("system", "popen", "Popen", "check_call", "check_output", "urlopen"),
}
FORBIDDEN_MODULES = {"subprocess", "socket", "urllib", "requests", "pickle", "importlib"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def calls(path: Path, *names: str) -> list[ast.Call]:
    found = [n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]
    return [c for c in found if name_of(c.func) in names]


def keywords(call: ast.Call) -> dict[str, ast.expr]:
    return {k.arg: k.value for k in call.keywords if k.arg}


def declared(path: Path) -> dict[str, dict[str, ast.expr]]:
    """Name -> keywords of every declared argument; names must be literal."""
    found = {}
    for call in calls(path, "DeclareLaunchArgument", "declare"):
        assert isinstance(call.args[0], ast.Constant), f"{path.name}, line {call.lineno}"
        found[call.args[0].value] = keywords(call)
    return found


def literal(node: ast.expr, path: Path) -> Any:
    """Value of an expression of constants and of the file's own BOOL."""
    constants = {
        target.id: ast.literal_eval(n.value)
        for n in tree(path).body
        if isinstance(n, ast.Assign)
        for target in n.targets
        if isinstance(target, ast.Name) and isinstance(n.value, (ast.List, ast.Dict))
    }
    source = ast.unparse(node)
    for name, value in constants.items():
        source = re.sub(rf"\b{name}\b", repr(value), source)
    tidy = ast.parse(source, mode="eval").body
    if isinstance(tidy, ast.List):
        return [
            item
            for e in tidy.elts
            for item in (
                ast.literal_eval(e.value) if isinstance(e, ast.Starred) else [ast.literal_eval(e)]
            )
        ]
    return ast.literal_eval(tidy)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_launch_file_compiles_and_runs_nothing_of_its_own(path: Path) -> None:
    compile(path.read_text(encoding="utf-8"), str(path), "exec")
    used = {name_of(c.func) for c in ast.walk(tree(path)) if isinstance(c, ast.Call)}
    assert not used & FORBIDDEN
    imported = {
        alias.name.split(".")[0]
        for n in ast.walk(tree(path))
        if isinstance(n, ast.Import)
        for alias in n.names
    } | {str(n.module).split(".")[0] for n in ast.walk(tree(path)) if isinstance(n, ast.ImportFrom)}
    assert not imported & FORBIDDEN_MODULES


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_every_argument_is_described_and_every_one_used_is_declared(path: Path) -> None:
    arguments = declared(path)
    assert arguments
    for name, options in arguments.items():
        assert "description" in options, name
    known = set(arguments) | set(declared(PERCEPTION))
    for call in calls(path, "LaunchConfiguration", "given", "value"):
        for argument in call.args:
            if isinstance(argument, ast.Constant):
                assert argument.value in known, f"{path.name}: {argument.value}"


def test_perception_has_the_documented_arguments_and_only_the_bundle_is_required() -> None:
    arguments = declared(PERCEPTION)
    assert set(arguments) == {
        *("bundle", "namespace", "node_name", "params_file", "provider", "use_sim_time"),
        *("autostart", "rviz", "foxglove", "log_level", "respawn", "enclave", "fastdds_profile"),
        *("topics", "message_types", "rviz_config"),
        *("rgb_topic", "depth_topic", "wrench_topic", "action_topic"),
        *("rgb_message_type", "depth_message_type", "action_message_type"),
    }
    assert [n for n, options in arguments.items() if "default_value" not in options] == ["bundle"]


@pytest.mark.parametrize("path", [f for f in FILES if f != PERCEPTION], ids=lambda p: p.name)
def test_a_scenario_names_no_sensor(path: Path) -> None:
    """Sensors come from the bundle; descriptions may show an example."""
    nodes = list(ast.walk(tree(path)))
    read = [n.value for n in nodes if isinstance(n, ast.Expr)]  # docstrings
    read += [n.value for n in nodes if isinstance(n, ast.keyword) and n.arg == "description"]
    left_out = {inner for n in read for inner in ast.walk(n)}
    strings = [str(n.value) for n in nodes if isinstance(n, ast.Constant) and n not in left_out]
    assert strings
    assert not [s for s in strings if re.search(r"rgb|depth|force|wrench|action", s)]


def test_defaults_are_among_the_choices_and_switches_are_true_or_false() -> None:
    for name, options in declared(PERCEPTION).items():
        if "choices" not in options:
            continue
        choices = literal(options["choices"], PERCEPTION)
        assert literal(options["default_value"], PERCEPTION) in choices, name
    for name in ("autostart", "respawn", "rviz", "foxglove"):
        choices = declared(PERCEPTION)[name]["choices"]
        assert literal(choices, PERCEPTION) == ["true", "false"]


def test_arguments_become_parameters_that_the_parameter_file_has() -> None:
    """The parameter file is the table written out, so a renamed parameter fails here."""
    assigned = [
        n.value
        for n in tree(PERCEPTION).body
        if isinstance(n, ast.Assign) and name_of(n.targets[0]) == "PARAMETERS"
    ]
    parameters = ast.literal_eval(assigned[0])
    text = (PACKAGE / "config/perception.yaml").read_text(encoding="utf-8")
    file = yaml.safe_load(text)["/**"]["ros__parameters"]
    for argument, parameter in parameters.items():
        assert argument in declared(PERCEPTION)
        value = file
        for part in parameter.split("."):
            assert part in value, f"{argument} sets {parameter}, which the node does not have"
            value = value[part]
        assert isinstance(value, str)


def test_message_types_offered_are_those_that_the_conversions_accept() -> None:
    from smvae_core.modality import find
    from smvae_core.presets import VISION_TOUCH

    for argument in ("rgb", "depth", "action"):
        options = declared(PERCEPTION)[f"{argument}_message_type"]
        assert literal(options["choices"], PERCEPTION) == [
            "",
            *find(VISION_TOUCH, argument).message_types,
        ]


def test_the_package_installs_what_its_launch_file_names() -> None:
    setup = (PACKAGE / "setup.py").read_text(encoding="utf-8")
    for call in calls(PERCEPTION, "share"):
        parts = [ast.literal_eval(a) for a in call.args if isinstance(a, ast.Constant)]
        if parts:
            assert PACKAGE.joinpath(*parts).is_file()
            assert f"share/{{NAME}}/{parts[0]}" in setup
