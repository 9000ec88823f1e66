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
    variable = "FASTRTPS_DEFAULT_PROFILES_FILE"
    profile = LaunchConfiguration(
        "fastdds_profile", default=EnvironmentVariable(variable, default_value=shipped)
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="Exported model, absolute path."),
            DeclareLaunchArgument("seed", default_value="1000", description="World of the robot."),
            Node(
                package="smvae_ros",
                executable="simulated_robot",
                namespace=LaunchConfiguration("namespace", default=""),
                parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
                additional_env={variable: profile, "FASTDDS_DEFAULT_PROFILES_FILE": profile},
                output="screen",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(perception),
                launch_arguments={"bundle": LaunchConfiguration("bundle")}.items(),
            ),
        ]
    )
