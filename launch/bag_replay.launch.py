"""Play a recorded bag through the perception node, on the bag's own clock. Needs `ros2 bag`.

ros2 launch launch/bag_replay.launch.py bag:=$(pwd)/runs/demo/bag bundle:=$(pwd)/runs/demo/bundle
"""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

#: Only inputs: the bag holds the latents of its own session too.
TOPICS = ["/rgb/image", "/rgb/camera_info", "/depth/image", "/depth/camera_info"]


def generate_launch_description() -> LaunchDescription:
    """Include the package's launch file with use_sim_time, and play the inputs."""
    perception = PathJoinSubstitution(
        [FindPackageShare("smvae_ros"), "launch", "perception.launch.py"]
    )
    value = LaunchConfiguration
    play = ["ros2", "bag", "play", value("bag"), "--clock-topics-all", "--rate", value("rate")]
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="Exported model, absolute path."),
            DeclareLaunchArgument("bag", description="Folder of a rosbag2 bag."),
            DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay."),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(perception),
                launch_arguments={"bundle": value("bundle"), "use_sim_time": "true"}.items(),
            ),
            ExecuteProcess(cmd=[*play, "--topics", *TOPICS, "/wrench", "/action"], output="screen"),
        ]
    )
