"""The simulated robot and the perception node, to try everything without hardware.

ros2 launch launch/simulated_robot.launch.py bundle:=$(pwd)/runs/demo/bundle
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Include the package's launch file; its other arguments may be given here too."""
    share = FindPackageShare("smvae_ros")
    perception = PathJoinSubstitution([share, "launch", "perception.launch.py"])
    shipped = PathJoinSubstitution([share, "config", "fastdds_large_images.xml"])
    # Fast DDS 2 (Humble, Jazzy) and 3 read different names
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    own = EnvironmentVariable(
        names[0], default_value=EnvironmentVariable(names[1], default_value=shipped)
    )
    profile = LaunchConfiguration("fastdds_profile", default=own)
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="Exported model, absolute path."),
            DeclareLaunchArgument("seed", default_value="1000", description="World of the robot."),
            DeclareLaunchArgument(
                "command_topic",
                default_value="",
                description="Twists that it follows; empty: it moves by itself.",
            ),
            DeclareLaunchArgument(
                "episode_steps",
                default_value="250",
                description="Steps of 50 ms; then a new cell and a new start.",
            ),
            Node(
                package="smvae_tools",
                executable="simulated_robot",
                namespace=LaunchConfiguration("namespace", default=""),
                parameters=[
                    {
                        "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                        "command_topic": LaunchConfiguration("command_topic"),
                        "episode_steps": ParameterValue(
                            LaunchConfiguration("episode_steps"), value_type=int
                        ),
                    }
                ],
                additional_env=dict.fromkeys(names, profile),
                output="screen",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(perception),
                launch_arguments={"bundle": LaunchConfiguration("bundle")}.items(),
            ),
        ]
    )
