"""Shared autonomy on the simulated robot: an imperfect operator, helped by what the latent says.

ros2 launch launch/shared_autonomy.launch.py bundle:=$(pwd)/runs/demo/bundle

The bundle's model decodes the hole (`smvae train --data.targets all`), or has a readout: `smvae
readout BUNDLE --data EPISODES`. The operator logs attempts and seatings. With operator:=false a
joystick node of your own publishes geometry_msgs/TwistStamped on operator/command.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Robot, perception, blending and operator; arguments of perception.launch.py work here too."""
    robot = PathJoinSubstitution([ThisLaunchFileDir(), "simulated_robot.launch.py"])
    perception_node = LaunchConfiguration("node_name", default="smvae")
    topics = ("latent", "estimates", "model_info")

    def number(name: str, kind: type) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=kind)

    def node(executable: str, condition: IfCondition | None = None, **parameters: object) -> Node:
        return Node(
            package="smvae_tools",
            executable=executable,
            namespace=LaunchConfiguration("namespace", default=""),
            parameters=[parameters],
            remappings=[(f"smvae/{topic}", [perception_node, f"/{topic}"]) for topic in topics],
            condition=condition,
            output="screen",
        )

    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="Exported model with a readout, absolute."),
            DeclareLaunchArgument("seed", default_value="1000", description="World of the robot."),
            DeclareLaunchArgument(
                "operator",
                default_value="true",
                choices=["true", "false"],
                description="Start the scripted operator.",
            ),
            DeclareLaunchArgument(
                "operator_error_m",
                default_value="0.01",
                description="How far from the hole the scripted operator aims [m].",
            ),
            DeclareLaunchArgument(
                "operator_error_rad",
                default_value="0.15",
                description="How far the yaw that the scripted operator aims at is off [rad].",
            ),
            DeclareLaunchArgument(
                "operator_kind",
                default_value="aims_wrong",
                choices=["aims_wrong", "noisy", "late"],
                description="Aims wrong; shakes besides; or is half as fast and 300 ms late.",
            ),
            DeclareLaunchArgument(
                "max_weight",
                default_value="1.0",
                description="Largest share of the assistance in the sideways command.",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(robot),
                launch_arguments={
                    "bundle": LaunchConfiguration("bundle"),
                    "seed": LaunchConfiguration("seed"),
                    "command_topic": "command",
                    "episode_steps": "2000",  # several attempts in each cell
                }.items(),
            ),
            node(
                "shared_autonomy_demo",
                bundle=number("bundle", str),
                max_weight=number("max_weight", float),
            ),
            node(
                "imperfect_operator",
                IfCondition(LaunchConfiguration("operator")),
                error_m=number("operator_error_m", float),
                error_rad=number("operator_error_rad", float),
                kind=number("operator_kind", str),
            ),
        ]
    )
