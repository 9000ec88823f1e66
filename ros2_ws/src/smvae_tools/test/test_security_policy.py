"""The access policy: of the schema's form, complete, nothing beyond, and enforced where it can be.

The schema is SROS2's `policy.xsd` of version 0.2.0, as printed in the ROS 2 design article "SROS 2
Access Control Policies". It comes with the package sros2, which is on no wheel: where sros2
imports, its own validator is asked; everywhere, GRAMMAR below, from that article, is checked.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from smvae_ros import topics
from smvae_tools.files import security_policy

from smvae_core.errors import ConfigError
from smvae_core.presets import VISION_TOUCH

SHIPPED = Path(__file__).parents[2] / "smvae_ros/security/smvae.policy.xml"
RULE = "ALLOW|DENY"
#: Element -> (sequence of its children, required attributes, optional ones), from the article.
GRAMMAR = {
    "policy": ("enclaves ", {"version": r"0\.2\.0"}, {}),
    "enclaves": ("(enclave )+", {}, {}),
    "enclave": ("(profiles )+", {"path": "/.*"}, {}),
    "profiles": ("(profile )+(metadata )?", {}, {"type": ".*"}),
    "profile": ("((topics|services|actions) )*", {"ns": ".*", "node": ".*"}, {}),
    "topics": ("(topic )+", {}, {"publish": RULE, "subscribe": RULE}),
    "services": ("(service )+", {}, {"reply": RULE, "request": RULE}),
    "actions": ("(action )+", {}, {"call": RULE, "execute": RULE}),
    "topic": ("", {}, {}),
    "service": ("", {}, {}),
    "action": ("", {}, {}),
}
HAS_SROS2 = importlib.util.find_spec("sros2") is not None
#: What Fast DDS says, built without it; then nothing starts, whatever the policy.
WITHOUT_SECURITY = "This Fast DDS version doesn't have the security libraries"
NEEDS_SROS2 = "needs sros2 (not in the ROS wheels): apt install ros-$ROS_DISTRO-sros2"


def violations(element: ET.Element) -> list[str]:
    """Return where an element and what is below it leave the grammar."""
    children, required, optional = GRAMMAR.get(element.tag, ("", {}, {}))
    found = [] if element.tag in GRAMMAR else [f"unknown element {element.tag}"]
    sequence = "".join(f"{child.tag} " for child in element)
    if not re.fullmatch(children, sequence):
        found.append(f"{element.tag} holds '{sequence}'")
    allowed = required | optional
    found += [f"{element.tag} lacks {a}" for a in required if a not in element.attrib]
    for name, value in element.attrib.items():
        if name not in allowed or not re.fullmatch(allowed[name], value):
            found.append(f"{element.tag} has {name}='{value}'")
    return found + [v for child in element for v in violations(child)]


def names(policy: str, rule: str, access: str) -> set[str]:
    """Return the absolute names that a policy allows, expanded as SROS2's template does."""
    found = set()
    for profile in ET.fromstring(policy).iter("profile"):
        prefix = profile.attrib["ns"].rstrip("/") + "/"
        for rules in profile.iter(rule):
            assert list(rules.attrib.values()) == ["ALLOW"]
            for entry in rules if access in rules.attrib else ():
                name = str(entry.text)
                if name.startswith("~"):
                    name = prefix + profile.attrib["node"] + name[1:]
                found.add(name if name.startswith("/") else prefix + name)
    return found


def test_the_shipped_policy_is_the_generated_one() -> None:
    assert SHIPPED.read_text(encoding="utf-8") == security_policy.to_xml(VISION_TOUCH)


@pytest.mark.parametrize("namespace", ["", "robot1", "/cell/left/"])
def test_a_policy_is_of_the_schemas_form(namespace: str, tmp_path: Path) -> None:
    text = security_policy.to_xml(VISION_TOUCH, namespace=namespace)
    assert not violations(ET.fromstring(text))
    if HAS_SROS2:
        from sros2.policy import load_policy

        path = tmp_path / "policy.xml"
        path.write_text(text, encoding="utf-8")
        load_policy(path)  # raises InvalidPolicyXML


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("enclave", "context"),
        ('version="0.2.0"', 'version="0.1.0"'),
        ('subscribe="ALLOW"', 'subscribe="PERHAPS"'),
        ('node="smvae"', ""),
        ("<topic>wrench</topic>", "<service>wrench</service>"),
    ],
)
def test_the_check_of_the_form_finds_what_is_wrong(right: str, wrong: str) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert right in text
    assert violations(ET.fromstring(text.replace(right, wrong)))


@pytest.mark.parametrize("namespace", ["", "robot1", "/cell/left"])
def test_a_policy_allows_what_the_node_uses_and_nothing_else(namespace: str) -> None:
    text = security_policy.to_xml(VISION_TOUCH, namespace=namespace, node_name="eye")
    used = [*topics.inputs(VISION_TOUCH), *topics.outputs(VISION_TOUCH), *topics.STANDARD]
    for access in ("subscribe", "publish"):
        assert names(text, "topics", access) == {
            topics.resolve(t.name, namespace, "eye") for t in used if t.direction == access
        }
    assert names(text, "services", "reply") == {
        topics.resolve(s.name, namespace, "eye") for s in topics.SERVICES
    }
    assert not names(text, "services", "request")
    assert "*" not in text


def test_topics_of_the_launch_arguments_replace_the_defaults(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--namespace", "robot1", "--rgb-topic", "/cam/color/image_raw"]
    assert security_policy.main([*arguments, "--topic", "force=ft/wrench"]) == 0
    heard = names(capsys.readouterr().out, "topics", "subscribe")
    assert {"/cam/color/image_raw", "/cam/color/camera_info", "/robot1/ft/wrench"} <= heard
    assert not heard & {"/robot1/rgb/image", "/robot1/rgb/camera_info", "/robot1/wrench"}


def test_every_topic_argument_of_the_launch_file_is_one_of_the_policys() -> None:
    assert set(security_policy.LAUNCH_TOPICS.values()) == {m.name for m in VISION_TOUCH}
    source = (SHIPPED.parents[1] / "launch/perception.launch.py").read_text(encoding="utf-8")
    for argument, modality in security_policy.LAUNCH_TOPICS.items():
        assert f'"{argument}_topic": "modalities.{modality}.topic"' in source


def test_modalities_may_come_from_a_bundle(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert security_policy.main(["--bundle", str(bundle)]) == 0
    heard = names(capsys.readouterr().out, "topics", "subscribe")
    assert {f"/{m.default_topic}" for m in VISION_TOUCH} <= heard


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"chosen": {"rgb": "/camera/*"}}, r"'/camera/\*' is no ROS name"),
        ({"chosen": {"lidar": "/scan"}}, "given for 'lidar', but the modalities are rgb"),
        ({"enclave": "smvae"}, "absolute path like /smvae/perception"),
        ({"node_name": "a b"}, "'a b' is no ROS name"),
        ({"chosen": {"rgb": "/camera/"}}, "'/camera/' is no ROS name"),
        ({"chosen": {"rgb": "/camera//image"}}, "'/camera//image' is no ROS name"),
    ],
)
def test_names_that_cannot_be_are_refused(options: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        security_policy.to_xml(VISION_TOUCH, **options)


@pytest.mark.skipif(not (HAS_SROS2 and shutil.which("ros2")), reason=NEEDS_SROS2)
def test_enforced_the_named_node_runs_and_another_is_stopped(domain: int, tmp_path: Path) -> None:
    """With ROS_SECURITY_STRATEGY=Enforce, names outside the policy stop a node at start-up."""
    keystore = tmp_path / "keystore"
    environment = os.environ | {
        "ROS_DOMAIN_ID": str(domain),  # permissions hold for one domain
        "ROS_SECURITY_KEYSTORE": str(keystore),
        "ROS_SECURITY_ENABLE": "true",
        "ROS_SECURITY_STRATEGY": "Enforce",
    }
    enclave = security_policy.ENCLAVE
    for command in (
        ["create_keystore", str(keystore)],
        ["create_enclave", str(keystore), enclave],
        ["create_permission", str(keystore), enclave, str(SHIPPED)],
    ):
        subprocess.run(["ros2", "security", *command], env=environment, check=True, timeout=240)

    def outcome(node_name: str, limit_s: float) -> int | None:
        code = "import sys; from smvae_ros.perception_node import main; sys.exit(main())"
        arguments = ["--ros-args", "-r", f"__node:={node_name}", "--enclave", enclave]
        log = tmp_path / f"{node_name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments], env=environment, stderr=file
            )
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()
            process.wait()
            if WITHOUT_SECURITY in log.read_text(encoding="utf-8"):
                pytest.skip("needs a Fast DDS built with security; that of the wheels is not")

    assert outcome("smvae", 20.0) is None, "the node of the policy should keep running"
    assert outcome("intruder", 60.0) not in (None, 0)
