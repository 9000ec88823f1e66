"""Play a recorded bag through the perception node, on the bag's own clock; evaluate it afterwards.

ros2 launch launch/replay_bag.launch.py bag:=$(pwd)/runs/demo/bag bundle:=$(pwd)/runs/demo/bundle

The bag starts once the node is active, and everything ends with it, or with the node. In a
namespace the topics are played into it. `ros2 bag play` plays it where
it is installed; `bag_player` of smvae_tools elsewhere, and wherever `jump` is given, which only
that one can. A live replay depends on the machine's load; `evaluate:=true` also scores the bag
offline, which does not; it needs what `pip install smvae[train,bags]` brings.
"""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.substitutions import FindPackageShare
from smvae_ros.parameters.choices import chosen_topics, listened_to, sensors_of

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from smvae_core.bags import Bag, BagError
from smvae_core.errors import MissingDependency, SMVAEError
from smvae_core.recorded_clock import CLOCK, RecordedClock

BOOL = ["true", "false"]


def arguments() -> list[DeclareLaunchArgument]:
    """Every argument with its meaning, beside those of perception.launch.py."""
    declare = DeclareLaunchArgument
    return [
        declare("bundle", description="Exported model, absolute path."),
        declare("bag", description="Folder of a rosbag2 bag, absolute path."),
        declare("namespace", default_value="", description="Namespace of node and topics."),
        declare(
            "topics",
            default_value="",
            description="Topics of the bundle's sensors where the defaults are not those of the "
            "bag, e.g. rgb=/camera/image,force=/ft/wrench: what the node listens to is played. Or "
            "what is played, parted by spaces.",
        ),
        declare("rate", default_value="1.0", description="Bag seconds per second."),
        declare("start_offset", default_value="0.0", description="Begin so many seconds in."),
        declare(
            "loop",
            default_value="false",
            choices=BOOL,
            description="Begin again at the end; /clock jumps back.",
        ),
        declare(
            "jump",
            default_value="",
            description="Seeks AT:TO in seconds, parted by spaces, e.g. '5:2 8:12'.",
        ),
        declare(
            "player",
            default_value="auto",
            choices=["auto", "rosbag2", "smvae"],
            description="Who plays; auto = rosbag2 where it is installed and no jump is asked for.",
        ),
        declare(
            "evaluate",
            default_value="false",
            choices=BOOL,
            description="Run `smvae evaluate-bag` when the bag has ended.",
        ),
        declare(
            "out",
            default_value=[LaunchConfiguration("bag"), "_evaluation"],
            description="Folder of the evaluation.",
        ),
    ]


def given(context: LaunchContext, name: str) -> str:
    """Return what an argument was set to."""
    return LaunchConfiguration(name).perform(context)


def has_rosbag2() -> bool:
    """Whether `ros2 bag play` is installed."""
    try:
        get_package_prefix("ros2bag")
    except PackageNotFoundError:
        return False
    return True


def uses_rosbag2(context: LaunchContext) -> bool:
    """Whether `ros2 bag play` is to play, by the arguments and by what is installed."""
    player, jump = given(context, "player"), given(context, "jump")
    if player == "rosbag2" and jump:
        raise RuntimeError("jump needs player:=smvae: `ros2 bag play` cannot seek by itself")
    return player == "rosbag2" or (player == "auto" and not jump and has_rosbag2())


def plain(context: LaunchContext) -> list[str]:
    """Return the topics to play where they are listed as such, not by sensor."""
    return [] if "=" in given(context, "topics") else given(context, "topics").split()


def chosen(context: LaunchContext) -> dict[str, str]:
    """Return the topic of each sensor that is given one, here or by arguments like rgb_topic."""
    if plain(context):
        return {}
    sensors = sensors_of(given(context, "bundle"))
    return chosen_topics(sensors, given(context, "topics"), context.launch_configurations)


def heard(context: LaunchContext, namespace: str) -> list[str]:
    """Return what the node listens to. Only inputs: a bag holds the latents of its session too."""
    return listened_to(sensors_of(given(context, "bundle")), chosen(context), namespace)


def played(context: LaunchContext) -> list[str]:
    """Return the topics to play, as the bag has them."""
    return plain(context) or list(dict.fromkeys(heard(context, "")))


def has_own_clock(context: LaunchContext) -> bool:
    """Whether stamps are of a /clock in the bag, which is then played as it was recorded.

    Of a bag that cannot be read here `ros2 bag play` says what is wrong, or plays it.
    """
    try:
        with Bag(given(context, "bag")) as bag:
            return RecordedClock.of(bag, played(context)).followed
    except (BagError, MissingDependency):  # the latter on a host that has `ros2 bag` alone
        return False


def remappings(context: LaunchContext) -> list[tuple[str, str]]:
    """Recorded topic -> the topic that the node in its namespace listens to."""
    namespace = given(context, "namespace").strip("/")
    if not namespace:
        return []
    topics = plain(context)
    into = [t if t.startswith(f"/{namespace}/") else f"/{namespace}{t}" for t in topics]
    pairs = zip(topics or heard(context, ""), into or heard(context, namespace), strict=True)
    return [(recorded, used) for recorded, used in dict(pairs).items() if used != recorded]


def play(context: LaunchContext) -> ExecuteProcess:
    """The process that plays the bag, with /clock before every message."""
    common = ["--rate", given(context, "rate"), "--start-offset", given(context, "start_offset")]
    if given(context, "loop") == "true":
        common.append("--loop")
    topics = ["--topics", *played(context)]
    renamed = remappings(context)
    if uses_rosbag2(context):
        command = ["ros2", "bag", "play", given(context, "bag")]
        if has_own_clock(context):
            topics.append(CLOCK)
        else:
            command.append("--clock-topics-all")
        if renamed:
            topics += ["--remap", *(f"{recorded}:={played}" for recorded, played in renamed)]
        return ExecuteProcess(
            cmd=[*command, "--disable-keyboard-controls", *common, *topics], output="screen"
        )
    jumps = [part for jump in given(context, "jump").split() for part in ("--jump", jump)]
    return Node(
        package="smvae_tools",
        executable="bag_player",
        arguments=[given(context, "bag"), *common, *jumps, "--wait", "10", *topics],
        remappings=renamed,
        output="screen",
    )


def fail(reason: str) -> OpaqueFunction:
    """End everything, with an exit status that is not 0, unless it is ending anyway."""

    def function(context: LaunchContext) -> None:
        if not context.is_shutdown:
            raise RuntimeError(reason)

    return OpaqueFunction(function=function)


def by_sensor(context: LaunchContext) -> list[str]:
    """Return 'NAME=TOPIC' of each sensor that is given a topic."""
    return [f"{sensor}={topic}" for sensor, topic in chosen(context).items()]


def evaluation(context: LaunchContext) -> ExecuteProcess:
    """The process that scores the bag offline."""
    command = ["smvae", "evaluate-bag", given(context, "bag")]
    command += ["--bundle", given(context, "bundle"), "--out", given(context, "out")]
    own = by_sensor(context)
    return ExecuteProcess(cmd=[*command, *(["--topics", *own] if own else [])], output="screen")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Play once the node is active; then evaluate, where asked for; then end everything.

    Raises:
        RuntimeError: If the bundle is needed to know its sensors, and cannot be used.
    """
    try:
        player, topics = play(context), ",".join(by_sensor(context))
    except SMVAEError as err:
        raise RuntimeError(f"nothing is played: {err}") from err
    end = [Shutdown(reason="the bag has ended")]
    if given(context, "evaluate") == "true":
        evaluator = evaluation(context)
        ends = [OnProcessExit(target_action=evaluator, on_exit=end)]
        after: list[LaunchDescriptionEntity] = [evaluator]
    else:
        ends, after = [], end
    unable = fail("nothing is played: the node's ERROR line above says why it is not active")
    gone = fail("nothing more is played: the perception node is gone")
    handlers = [
        OnStateTransition(goal_state="active", entities=[player], handle_once=True),
        OnStateTransition(start_state="configuring", goal_state="unconfigured", entities=[unable]),
        OnStateTransition(start_state="activating", goal_state="inactive", entities=[unable]),
        OnProcessExit(target_action=lambda a: isinstance(a, LifecycleNode), on_exit=[gone]),
        OnProcessExit(target_action=player, on_exit=after),
        *ends,
    ]
    perception = PathJoinSubstitution(
        [FindPackageShare("smvae_ros"), "launch", "perception.launch.py"]
    )
    handed_on = {
        "bundle": given(context, "bundle"),
        "use_sim_time": "true",
        "topics": topics,
    }
    return [
        *(RegisterEventHandler(handler) for handler in handlers),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(perception), launch_arguments=handed_on.items()
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Include the package's launch file with use_sim_time, and play the inputs."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
