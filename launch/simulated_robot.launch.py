"""The simulated robot and the perception node, to try everything without hardware.

ros2 launch launch/simulated_robot.launch.py bundle:=$(pwd)/runs/demo/bundle
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Include the package's launch file; its other arguments may be given here too."""
    perception = PathJoinSubstitution(
        [FindPackageShare("smvae_ros"), "launch", "perception.launch.py"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="Exported model, absolute path."),
            DeclareLaunchArgument("seed", default_value="1000", description="World of the robot."),
            Node(
                package="smvae_ros",
                executable="simulated_robot",
                parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
                output="screen",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(perception),
                launch_arguments={"bundle": LaunchConfiguration("bundle")}.items(),
            ),
        ]
    )
