"""The pages under docs/ and the packages' documents: links resolve, names are those of the code."""

from __future__ import annotations

import ast
import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from smvae_core.robot import read_robot

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = ROOT / "ros2_ws/src"
RESULTS = ROOT / "benchmarks/results"
CODE = [WORKSPACE, *(ROOT / n for n in ("smvae_core", "datasets", "training", "tests"))]
DECISIONS = sorted(p for p in (ROOT / "docs/decisions").glob("*.md") if p.name != "README.md")
PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "RELIABILITY.md")),
        *WORKSPACE.glob("*/README.md"),
        *WORKSPACE.glob("*/QUALITY_DECLARATION.md"),
    ]
)
#: Items of REP 2004, as its newest edition numbers them.
ITEMS = [
    *("1.i", "1.ii", "1.iii", "1.iv", "1.v", "1.vi", "2.i", "2.ii", "2.iii", "2.iv", "2.v"),
    *("3.i", "3.ii", "3.iii", "3.iv", "3.v", "3.v.a", "3.v.b", "3.v.c"),
    *("4.i", "4.ii", "4.iii", "4.iv", "4.v", "5.i", "5.ii", "5.iii", "6.i", "7.i"),
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)


def parameters() -> set[str]:
    """Every parameter's last name, from the generated parameter file."""
    text = (WORKSPACE / "smvae_ros/config/perception.yaml").read_text(encoding="utf-8")
    found: set[str] = set()
    todo = [yaml.safe_load(text)["/**"]["ros__parameters"]]
    while todo:
        for name, value in todo.pop().items():
            found.add(name)
            if isinstance(value, dict):
                todo.append(value)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose(page))
    missing = [
        link for link in links if not link.startswith("http") and not (page.parent / link).exists()
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`([\w./-]+\.(?:py|md|yaml|xml|json|sh|rviz|msg))`", prose(page))
    made_by_commands = {"manifest.json", "readout.json", "summary.json", "robot.yaml", "info.json"}
    made_by_commands |= {"episodes.json", "recording.json", "estimates.json", "MODEL_CARD.md"}
    made_by_commands |= {"live.json", "assisted.json"}
    known = [
        f"/{name_of(p)}"
        for folder in (*CODE, ROOT / "docs", ROOT / "launch", ROOT / "scripts", RESULTS, ROOT)
        for p in (folder.glob("*") if folder == ROOT else folder.rglob("*"))
    ]
    wanted = [n.removeprefix("share/") for n in named if n not in made_by_commands]
    assert not [n for n in wanted if not any(path.endswith(f"/{n}") for path in known)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_parameters_that_a_page_names_are_the_nodes(page: Path) -> None:
    """Names with a unit suffix are parameters, fields of a message, options, rules of episodes."""
    from smvae_core.assistance.controller import Settings
    from smvae_core.kinds import kinds
    from smvae_core.robot import EpisodeRules

    options = {field.name for kind in kinds() for field in dataclasses.fields(kind.options)}
    options |= {field.name for field in dataclasses.fields(EpisodeRules)}
    for part in vars(Settings()).values():
        options |= {field.name for field in dataclasses.fields(part)}
    for path in (ROOT / "launch").glob("*.launch.py"):
        options |= set(re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', path.read_text("utf-8")))
    fields = {
        word
        for message in (WORKSPACE / "smvae_msgs/msg").glob("*.msg")
        for word in re.findall(r"\w+", message.read_text(encoding="utf-8"))
    }
    values = set(
        re.findall(
            r"\b(\w+)=",
            (WORKSPACE / "smvae_ros/smvae_ros/report/diagnostics.py").read_text("utf-8"),
        )
    )
    named = set(re.findall(r"`([a-z_]+_(?:s|hz|m))`", prose(page)))
    named |= set(re.findall(r"`modalities\.<\w+>\.(\w+)`", prose(page)))
    assert not named - parameters() - fields - values - options


def test_every_page_is_reached_from_the_index_and_the_index_from_the_readme() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not {p for p in pages if f"]({p})" not in index}
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert "](decisions/README.md)" in index
    assert "](docs/decisions/README.md)" in architecture


def test_the_title_of_a_page_is_the_question_that_the_index_gives() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    rows = dict(
        map(reversed, re.findall(r"^\| (.+\?) \| \[.+\]\((\S+\.md)\) \|$", index, flags=re.M))
    )
    pages = [p for p in (ROOT / "docs").glob("*.md") if p.name != "README.md"]
    titles = {p.name: p.read_text(encoding="utf-8").splitlines()[0] for p in pages}
    titles["../RELIABILITY.md"] = (ROOT / "RELIABILITY.md").read_text("utf-8").splitlines()[0]
    assert {name: f"# {question}" for name, question in rows.items()} == titles


def test_architecture_stays_one_page() -> None:
    """What was tried and measured is a page in docs/decisions/, not a paragraph here."""
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split()) < 1000


def test_the_index_of_decisions_has_one_line_per_page_with_the_pages_question() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(.+)\]\((.+\.md)\) \| \S", index, flags=re.M)
    titles = {p.name: p.read_text(encoding="utf-8").splitlines()[0] for p in DECISIONS}
    assert sorted(name for _, name in rows) == sorted(titles)
    assert {name: f"# {question}" for question, name in rows} == titles


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_has_question_options_figures_in_a_table_and_choice(page: Path) -> None:
    parts = re.split(r"^## (.+)\n", page.read_text(encoding="utf-8"), flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    order = ["Question", "Options", "Figures", "Choice"]
    assert list(sections) in (order, [name for name in order if name != "Figures"])
    assert parts[0].startswith("# ")
    assert parts[0].strip().endswith("?")
    assert all(text.strip() for text in sections.values())
    assert "Figures" not in sections or "\n|---" in sections["Figures"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_training_settings_that_a_page_names_exist(page: Path) -> None:
    from smvae_core.model.config import ModelConfig
    from smvae_core.model.objective_config import ObjectiveConfig
    from smvae_training.config import OptimizerConfig

    known = {
        f"{group}.{field.name}"
        for group, config in (
            ("model", ModelConfig),
            ("objective", ObjectiveConfig),
            ("optimizer", OptimizerConfig),
        )
        for field in dataclasses.fields(config)
    }
    named = set(re.findall(r"`((?:model|objective|optimizer)\.[a-z_]+)`", prose(page)))
    assert not named - known


def test_pages_that_the_code_names_exist() -> None:
    """A docstring that gives a figure says on which page it was measured."""
    files = [p for folder in (*CODE, ROOT / "benchmarks") for p in folder.rglob("*.py")]
    named = {
        page
        for path in files
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
    }
    assert "docs/decisions/set-encoder.md" in named
    assert not {page for page in named if not (ROOT / page).exists()}


def test_launch_arguments_of_the_page_are_those_of_the_launch_file() -> None:
    page = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", page, flags=re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    source = (WORKSPACE / "smvae_ros/launch/perception.launch.py").read_text(encoding="utf-8")
    declared = {
        call.args[0].value
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "declare"
        and isinstance(call.args[0], ast.Constant)
    }
    assert named == declared


def test_all_twenty_complaints_are_answered() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    numbers = [int(n) for n in re.findall(r"^\*\*(\d+)\. ", page, flags=re.M)]
    assert numbers == list(range(1, 21))


def test_every_reason_for_which_a_message_is_rejected_is_explained() -> None:
    from smvae_core.messages.base import REASONS

    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    table = page.partition("## Why a message is rejected")[2]
    explained = {
        reason
        for row in re.findall(r"^\| (`[^|]+) \|", table, flags=re.M)
        for reason in re.findall(r"`([^`]+)`", row)
    }
    stamps = {"zero stamp", "future stamp", "stamp not increasing", "too late"}
    of_the_node = {*stamps, "frame", "of others", "value", "layout", "unreadable"}
    assert explained == {*REASONS, *of_the_node}
    source = "".join(
        (ROOT / path).read_text(encoding="utf-8")
        for path in (
            "smvae_core/errors.py",
            "smvae_core/fusion/engine.py",
            "smvae_core/fusion/channel.py",
            "smvae_core/fusion/rules.py",
        )
    )
    assert all(f'"{reason}"' in source for reason in of_the_node)


@pytest.mark.parametrize("package", ["smvae_msgs", "smvae_ros"])
def test_a_quality_declaration_answers_every_item(package: str) -> None:
    folder = WORKSPACE / package
    text = (folder / "QUALITY_DECLARATION.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\.\S+) [^|]+\|[^|]+\|([^|]+)\|$", text, flags=re.M)
    assert [item for item, _ in rows] == ITEMS
    assert all(answer.strip() for _, answer in rows)
    assert "](QUALITY_DECLARATION.md)" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["smvae_msgs", "smvae_ros"])
def test_what_a_declaration_says_of_version_and_missing_items_is_so(package: str) -> None:
    text = (WORKSPACE / package / "QUALITY_DECLARATION.md").read_text(encoding="utf-8")
    opening, _, table = text.partition("| item |")
    unmet = re.findall(r"^\| (\d\.\S+) [^|]+\|[^|]+\| \*\*Not met", table, flags=re.M)
    assert re.findall(r"(\d\.[ivx]+) \(", opening) == unmet
    version = ET.parse(WORKSPACE / package / "package.xml").findtext("version")
    assert f"**Not met.** {version}." in text


def test_the_page_of_encodings_lists_what_is_read_and_nothing_else() -> None:
    from smvae_core.kinds.color_image import ACCEPTED
    from smvae_core.kinds.depth_image import METRES_PER_UNIT

    text = (ROOT / "docs/encodings.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    colour = {e for row in rows for e in re.findall(r"`(\w+)`", row.split("|")[2])}
    depth = {e for row in rows for e in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert colour - {"depth_scale"} == set(ACCEPTED)
    assert depth == set(METRES_PER_UNIT)


DECLARED = [
    (page, text)
    for page in PAGES
    for text in re.findall(r"```yaml\n(robot: .*?)```", page.read_text(encoding="utf-8"), re.S)
]


@pytest.mark.parametrize(("page", "text"), DECLARED, ids=[name_of(page) for page, _ in DECLARED])
def test_every_robot_on_a_page_reads(page: Path, text: str, tmp_path: Path) -> None:
    (tmp_path / "robot.yaml").write_text(text, encoding="utf-8")
    assert read_robot(tmp_path / "robot.yaml").sensors


def test_a_page_declares_a_robot() -> None:
    assert {page.name for page, _ in DECLARED} >= {"migrating.md"}
