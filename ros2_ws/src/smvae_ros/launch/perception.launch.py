"""Start the perception node, configure it and activate it.

ros2 launch smvae_ros perception.launch.py bundle:=/absolute/path/to/bundle

Topics follow the bundle's sensors: `topics:=rgb=/camera/image,force=/ft/wrench`; a name that the
bundle does not have is an error that lists those it has.

An argument left empty leaves its parameter to `params_file`; one that is given wins over it. Every
argument is declared at top level, so `--show-args` lists them; none is evaluated as code, and
nothing is installed, fetched or written. Bags: `launch/replay_bag.launch.py`.
"""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.ros_adapters import get_ros_node
from launch_ros.substitutions import FindPackageShare
from smvae_ros.lifecycle.autostart import Autostart
from smvae_ros.parameters.choices import parameters_of, viewer_remappings

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

BOOL = ["true", "false"]
#: Where Fast DDS 2 (Humble, Jazzy) and 3 read the name of a profile.
FASTDDS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
#: Argument -> parameter, handed on only where the argument is not empty.
PARAMETERS = {
    "bundle": "bundle",
    "provider": "provider",
    "rgb_topic": "modalities.rgb.topic",
    "depth_topic": "modalities.depth.topic",
    "wrench_topic": "modalities.force.topic",
    "action_topic": "modalities.action.topic",
    "rgb_message_type": "modalities.rgb.message_type",
    "depth_message_type": "modalities.depth.message_type",
    "action_message_type": "modalities.action.message_type",
}


def share(*path: str) -> PathJoinSubstitution:
    """Return a path below the package's share folder."""
    return PathJoinSubstitution([FindPackageShare("smvae_ros"), *path])


def arguments() -> list[DeclareLaunchArgument]:
    """Every argument with its meaning; `--show-args` prints them."""
    declare = DeclareLaunchArgument
    profile = share("config", "fastdds_large_images.xml")
    return [
        declare("bundle", description="Exported model: absolute path, file:// or package://."),
        declare("namespace", default_value="", description="Namespace of the node."),
        declare("node_name", default_value="smvae", description="Name of the node."),
        declare(
            "params_file",
            default_value="",
            description="Parameters, a YAML file such as the shipped config/perception.yaml, which "
            "wins over the manifest; arguments that are not empty win over it.",
        ),
        declare(
            "provider",
            default_value="",
            choices=["", "cpu", "cuda", "tensorrt"],
            description="Where the networks run; empty = as params_file says.",
        ),
        declare(
            "use_sim_time",
            default_value="",
            choices=["", *BOOL],
            description="Follow /clock; empty = as params_file says, else false.",
        ),
        declare(
            "autostart",
            default_value="true",
            choices=BOOL,
            description="Configure and activate by itself; again after a respawn.",
        ),
        *sensor_arguments(),
        declare(
            "rviz",
            default_value="false",
            choices=BOOL,
            description="Start rviz2 with inputs and predictions side by side.",
        ),
        declare(
            "rviz_config",
            default_value=share("rviz", "perception.rviz"),
            description="What rviz2 shows, by the names of a node /smvae; the default has the "
            "sensors of vision_touch. `ros2 run smvae_tools generate` writes one for any bundle.",
        ),
        declare(
            "foxglove",
            default_value="false",
            choices=BOOL,
            description="Start foxglove_bridge; import foxglove/smvae_layout.json in the app.",
        ),
        declare(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Logging of the node.",
        ),
        declare(
            "respawn",
            default_value="false",
            choices=BOOL,
            description="Start the process again, after 1 s, when it dies.",
        ),
        declare(
            "enclave",
            default_value="",
            description="Security enclave, e.g. /smvae/perception; empty = that of the process.",
        ),
        declare(
            "fastdds_profile",
            default_value=EnvironmentVariable(
                FASTDDS[0], default_value=EnvironmentVariable(FASTDDS[1], default_value=profile)
            ),
            description="Fast DDS profile of the nodes started here; the default has room for "
            "large images.",
        ),
    ]


def sensor_arguments() -> list[DeclareLaunchArgument]:
    """Topics and message types of any sensors, then one argument each for the four usual ones."""
    declare = DeclareLaunchArgument
    return [
        declare(
            "topics",
            default_value="",
            description="Topics of the bundle's sensors, e.g. rgb=/camera/image,force=/ft/wrench; "
            "those not named: params_file.",
        ),
        declare(
            "message_types",
            default_value="",
            description="What their topics carry, e.g. rgb=sensor_msgs/msg/CompressedImage; those "
            "not named: params_file.",
        ),
        declare("rgb_topic", default_value="", description="Colour images; empty: params_file."),
        declare("depth_topic", default_value="", description="Depth; empty: params_file."),
        declare("wrench_topic", default_value="", description="Force; empty: params_file."),
        declare(
            "action_topic", default_value="", description="Commanded motion; empty: params_file."
        ),
        declare(
            "rgb_message_type",
            default_value="",
            choices=["", "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"],
            description="What carries colour images; empty: params_file.",
        ),
        declare(
            "depth_message_type",
            default_value="",
            choices=[
                "",
                "sensor_msgs/msg/Image",
                "sensor_msgs/msg/CompressedImage",
                "sensor_msgs/msg/PointCloud2",
            ],
            description="What carries depth; empty: params_file.",
        ),
        declare(
            "action_message_type",
            default_value="",
            choices=[
                "",
                "geometry_msgs/msg/TwistStamped",
                "sensor_msgs/msg/JointState",
                "std_msgs/msg/Float32MultiArray",
                "geometry_msgs/msg/Twist",
            ],
            description="What carries the commanded motion; empty: params_file.",
        ),
    ]


def given(context: LaunchContext, name: str) -> str:
    """Return what an argument was set to."""
    return LaunchConfiguration(name).perform(context)


def chosen(context: LaunchContext) -> dict[str, str]:
    """Return the parameters that arguments set; those left empty set none.

    Raises:
        SMVAEError: If a sensor is named that the bundle does not have, or something twice.
    """
    one_each = {p: given(context, a) for a, p in PARAMETERS.items() if given(context, a)}
    return parameters_of(
        one_each, topics=given(context, "topics"), message_types=given(context, "message_types")
    )


def perception(
    context: LaunchContext, environment: dict[str, str], chosen: dict[str, str]
) -> LifecycleNode:
    """The node, with the arguments that were given as parameters."""
    parameters: dict[str, object] = {
        name: ParameterValue(value, value_type=str) for name, value in chosen.items()
    }
    if given(context, "use_sim_time"):
        parameters["use_sim_time"] = given(context, "use_sim_time") == "true"
    ros_arguments = ["--ros-args", "--log-level", given(context, "log_level")]
    if given(context, "enclave"):
        ros_arguments += ["--enclave", given(context, "enclave")]
    return LifecycleNode(
        package="smvae_ros",
        executable="perception_node",
        name=given(context, "node_name"),
        namespace=given(context, "namespace"),
        parameters=[*filter(None, [given(context, "params_file")]), parameters],
        arguments=ros_arguments,
        additional_env=environment,
        respawn=given(context, "respawn") == "true",
        respawn_delay=1.0,
        output="screen",
        emulate_tty=True,
    )


def lifecycle(node: LifecycleNode, autostart: bool) -> list[LaunchDescriptionEntity]:
    """Configure and activate at every start of the process; say how it went."""

    def on_transition(start: str, goal: str, message: str) -> OnStateTransition:
        def say(context: LaunchContext) -> list[LogInfo]:
            # known from now on, with the namespaces of groups that include this file
            return [LogInfo(msg=message.format(node.node_name))]

        return OnStateTransition(
            target_lifecycle_node=node,
            start_state=start,
            goal_state=goal,
            entities=[OpaqueFunction(function=say)],
        )

    failed = "{} could not be %s: its ERROR line above says why"
    handlers = [
        on_transition("activating", "active", "{0} is active: see `ros2 topic hz {0}/latent`"),
        on_transition("configuring", "unconfigured", failed % "configured"),
        on_transition("activating", "inactive", failed % "activated"),
    ]
    if autostart:
        up = Autostart(lambda: node.node_name, get_ros_node)
        started = OpaqueFunction(function=up.started)
        handlers.append(OnProcessStart(target_action=node, on_start=[started]))
        ended = OpaqueFunction(function=up.ended)
        handlers.append(OnProcessExit(target_action=node, on_exit=[ended]))
    return [RegisterEventHandler(handler) for handler in handlers]


def installed(argument: str, package: str) -> bool:
    """Raise before anything starts if what an argument asks for is missing.

    Launch finds out too late, and leaves behind what runs by then.
    """
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        apt = f"ros-$ROS_DISTRO-{package.replace('_', '-')}"
        raise RuntimeError(
            f"{argument}:=true needs the package {package}: apt install {apt}"
        ) from None
    return True


def viewers(
    context: LaunchContext, environment: dict[str, str], chosen: dict[str, str]
) -> list[Node]:
    """rviz2 and foxglove_bridge, where asked for."""
    found = []
    common = {"namespace": given(context, "namespace"), "additional_env": environment}
    if given(context, "use_sim_time"):
        common["parameters"] = [{"use_sim_time": given(context, "use_sim_time") == "true"}]
    if given(context, "rviz") == "true" and installed("rviz", "rviz2"):
        found.append(
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", given(context, "rviz_config")],
                remappings=viewer_remappings(chosen, given(context, "node_name")),
                **common,
            )
        )
    if given(context, "foxglove") == "true" and installed("foxglove", "foxglove_bridge"):
        found.append(Node(package="foxglove_bridge", executable="foxglove_bridge", **common))
    return found


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """All that runs; handlers stand before the node, so that no transition is missed."""
    profile = given(context, "fastdds_profile")
    environment = dict.fromkeys(FASTDDS, profile) if profile else {}
    parameters = chosen(context)
    node = perception(context, environment, parameters)
    handlers = lifecycle(node, given(context, "autostart") == "true")
    return [*handlers, node, *viewers(context, environment, parameters)]


def generate_launch_description() -> LaunchDescription:
    """Declare every argument, then start."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
