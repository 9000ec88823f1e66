"""Start the perception node, configure it and activate it.

ros2 launch smvae_ros perception.launch.py bundle:=/absolute/path/to/bundle
"""

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

from launch import LaunchDescription

BOOL = ["true", "false"]


def arguments() -> list[DeclareLaunchArgument]:
    """Every argument with its meaning; `--show-args` prints them."""
    share = FindPackageShare("smvae_ros")
    defaults = PathJoinSubstitution([share, "config", "perception.yaml"])
    profile = PathJoinSubstitution([share, "config", "fastdds_large_images.xml"])
    declare = DeclareLaunchArgument
    return [
        declare("bundle", description="Exported model: absolute path, file:// or package://."),
        declare("namespace", default_value="", description="Namespace of the node."),
        declare("node_name", default_value="smvae", description="Name of the node."),
        declare(
            "params_file",
            default_value=defaults,
            description="Parameters; the arguments below win over it.",
        ),
        declare(
            "provider",
            default_value="cpu",
            choices=["cpu", "cuda", "tensorrt"],
            description="Where the networks run.",
        ),
        declare(
            "autostart",
            default_value="true",
            choices=BOOL,
            description="Configure and activate by itself.",
        ),
        declare("use_sim_time", default_value="false", choices=BOOL, description="Follow /clock."),
        declare("rgb_topic", default_value="rgb/image", description="sensor_msgs/Image, colour."),
        declare(
            "depth_topic",
            default_value="depth/image",
            description="sensor_msgs/Image, 32FC1 metres or 16UC1 millimetres.",
        ),
        declare("wrench_topic", default_value="wrench", description="geometry_msgs/WrenchStamped."),
        declare(
            "action_topic",
            default_value="action",
            description="geometry_msgs/TwistStamped, the commanded velocity.",
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
            description="Start the process again when it dies.",
        ),
        declare(
            "fastdds_profile",
            default_value=EnvironmentVariable(
                "FASTRTPS_DEFAULT_PROFILES_FILE", default_value=profile
            ),
            description="Fast DDS profile; the default has room for large images.",
        ),
    ]


def node() -> LifecycleNode:
    """The node, with the arguments as parameters."""
    value = LaunchConfiguration
    topics = {"rgb": "rgb", "depth": "depth", "force": "wrench", "action": "action"}
    overrides = {
        f"modalities.{name}.topic": ParameterValue(value(f"{argument}_topic"), value_type=str)
        for name, argument in topics.items()
    }
    return LifecycleNode(
        package="smvae_ros",
        executable="perception_node",
        name=value("node_name"),
        namespace=value("namespace"),
        parameters=[
            value("params_file"),
            {
                "bundle": ParameterValue(value("bundle"), value_type=str),
                "provider": value("provider"),
                "use_sim_time": ParameterValue(value("use_sim_time"), value_type=bool),
                **overrides,
            },
        ],
        arguments=["--ros-args", "--log-level", value("log_level")],
        respawn=value("respawn"),
        respawn_delay=2.0,
        output="screen",
        emulate_tty=True,
    )


def generate_launch_description() -> LaunchDescription:
    """Start, then configure, then activate through lifecycle events, which any launch_ros has."""
    perception = node()
    autostart = IfCondition(LaunchConfiguration("autostart"))

    def change(transition: int) -> EmitEvent:
        matcher = matches_action(perception)
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition)
        )

    configure = RegisterEventHandler(
        OnProcessStart(
            target_action=perception, on_start=[change(Transition.TRANSITION_CONFIGURE)]
        ),
        condition=autostart,
    )
    activate = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=perception,
            start_state="configuring",
            goal_state="inactive",
            entities=[change(Transition.TRANSITION_ACTIVATE)],
        ),
        condition=autostart,
    )
    report = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=perception,
            goal_state="active",
            entities=[LogInfo(msg="perception is active: see `ros2 topic hz /smvae/latent`")],
        )
    )
    profile = SetEnvironmentVariable(
        "FASTRTPS_DEFAULT_PROFILES_FILE", LaunchConfiguration("fastdds_profile")
    )
    # handlers first, so that no transition is missed
    return LaunchDescription([*arguments(), profile, configure, activate, report, perception])
