"""Promises that tests keep: no figure, but every run of `make test` fails where one is broken."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_NODE = "ros2_ws/src/smvae_ros/test"
_TOOLS = "ros2_ws/src/smvae_tools/test"
_ROS = "tests/ros"
_CORE = "tests/core"

#: Heading -> promise -> tests, 'file::function'.
TESTED: dict[str, dict[str, tuple[str, ...]]] = {
    "Inputs": {
        "A message of any type is converted to the array that it means, or refused for a fault "
        "that it has": (
            f"{_ROS}/test_conversions_malformed.py::"
            "test_damaged_messages_of_every_type_are_converted_right_or_refused_rightly",
            f"{_ROS}/test_conversions_malformed.py::test_any_message_of_a_type",
        ),
        "A conversion that fails in an unforeseen way rejects the message, and the node goes on": (
            f"{_NODE}/test_faults.py::"
            "test_a_conversion_that_fails_unforeseen_rejects_the_message_by_the_errors_name",
            f"{_NODE}/test_faults.py::"
            "test_a_callback_that_fails_is_counted_and_the_next_message_is_taken",
        ),
        "For every subset a latent equals what the runtime makes of the samples that it names": (
            f"{_NODE}/test_subsets.py::test_latent_of_a_subset_equals_the_runtime",
        ),
        "Every message type of a modality gives the latent of its sample": (
            f"{_NODE}/test_message_types.py::test_each_message_type_gives_the_latent_of_its_sample",
        ),
        "Depth in the wrong unit gives a warning": (
            f"{_NODE}/test_message_types.py::test_depth_in_another_unit_is_reported_and_refused_where_nothing_is_left",
        ),
    },
    "Sensors that come and go": {
        "A driver that ends is ABSENT. One that starts again with another reliability is fused": (
            f"{_NODE}/test_dropout.py::"
            "test_a_driver_that_ends_is_absent_and_one_that_starts_again_is_fused",
        ),
        "A lost sensor counts again at its second good message": (
            f"{_NODE}/test_dropout.py::test_a_lost_sensor_is_fused_at_its_second_message",
        ),
        "Without input the node says NO_INPUT, and nothing is made up": (
            f"{_NODE}/test_subsets.py::test_nothing_alive_gives_heartbeats_without_a_latent",
        ),
    },
    "Quality of service": {
        "Best-effort and reliable publishers are heard alike": (
            f"{_NODE}/test_dropout.py::"
            "test_a_driver_that_ends_is_absent_and_one_that_starts_again_is_fused",
        ),
        "A publisher that does not match gives an ERROR with topic and policy until it is mended": (
            f"{_NODE}/test_time_and_qos.py::"
            "test_an_incompatible_publisher_shows_until_it_is_mended",
            f"{_NODE}/test_time_and_qos.py::test_a_topic_of_another_type_shows_in_diagnostics",
        ),
        "Overrides given as parameters reach the subscription": (
            f"{_NODE}/test_time_and_qos.py::test_qos_overrides_reach_the_subscription",
        ),
    },
    "Time": {
        "A clock that jumps, either way, drops all samples and begins an epoch": (
            f"{_NODE}/test_clock.py::test_a_bag_that_loops_drops_everything_each_time",
            f"{_NODE}/test_clock.py::test_a_forward_jump_drops_everything",
        ),
        "Stamps that begin again without a clock do the same. One message out of order does not": (
            f"{_NODE}/test_clock.py::test_a_bag_that_loops_without_a_clock_begins_one_epoch",
            f"{_NODE}/test_clock.py::test_one_message_out_of_order_is_no_restart",
        ),
        "A paused clock stops neither heartbeat nor diagnostics": (
            f"{_NODE}/test_clock.py::test_a_paused_clock_silences_the_sensors_but_not_the_node",
            f"{_NODE}/test_diagnostics.py::test_diagnostics_come_while_the_clock_stands_still",
        ),
        "Zero and future stamps are rejected by name": (
            f"{_CORE}/test_observation_stamps.py::test_stamps_that_cannot_be",
            f"{_NODE}/test_clock.py::"
            "test_live_sensors_beside_an_old_clock_are_rejected_with_a_reason",
        ),
    },
    "Lifecycle": {
        "The node serves /clock, parameters, `~/reset` and lifecycle requests while sensors send "
        "as fast as they can": (
            f"{_NODE}/test_flood.py::test_clock_parameters_and_services_are_served_under_a_flood",
        ),
        "Fifty cycles leave no thread, endpoint or memory behind": (
            f"{_NODE}/test_lifecycle_leaks.py::test_fifty_cycles_leak_no_thread_endpoint_or_memory",
        ),
        "SIGINT and SIGTERM, at any moment after the first log line, end the node with code 0 "
        "within 2 s (in the tests a machine without a free core gets three times that)": (
            f"{_NODE}/test_lifecycle_signals.py::test_at_the_first_log_line",
            f"{_NODE}/test_lifecycle_signals.py::test_around_a_configure",
            f"{_NODE}/test_lifecycle_signals.py::test_in_a_configure_that_takes_minutes",
            f"{_NODE}/test_lifecycle_signals.py::test_while_active_with_data",
        ),
        "A configure that fails says why and changes nothing": (
            f"{_NODE}/test_lifecycle.py::test_a_wrong_bundle_fails_configure_with_the_reason",
            f"{_NODE}/test_lifecycle_reload.py::"
            "test_a_bundle_that_cannot_be_loaded_leaves_the_old_one",
        ),
        "A node started where another was killed is configured and activated": (
            f"{_NODE}/test_lifecycle_start.py::test_a_node_started_where_another_was_killed_comes_up",
        ),
        "A dead inference thread gives an ERROR, and the node leaves active": (
            f"{_NODE}/test_lifecycle.py::"
            "test_a_dead_inference_thread_shows_as_error_and_leaves_active",
        ),
        "No lifecycle request ends the process": (
            f"{_NODE}/test_lifecycle.py::test_no_request_ends_the_node",
        ),
        "A provider that is not there is refused, never silently replaced": (
            f"{_NODE}/test_diagnostics.py::test_a_provider_that_is_not_there_is_refused",
        ),
    },
    "Outputs": {
        "A model whose output is no number gives ERROR, never a latent": (
            f"{_NODE}/test_diagnostics.py::test_a_model_that_gives_no_numbers_is_counted",
        ),
        "Novelty above its threshold gives OUT_OF_DISTRIBUTION": (
            f"{_NODE}/test_outputs.py::test_novelty_above_its_threshold_is_out_of_distribution",
        ),
        "Diagnostics come while sensors flood the node": (
            f"{_NODE}/test_diagnostics.py::test_diagnostics_come_while_sensors_flood_the_node",
        ),
        "Live replay of a bag and its offline evaluation agree": (
            f"{_TOOLS}/test_bag_replay.py::test_live_replay_and_offline_evaluation_agree",
        ),
        "Two nodes in two namespaces hear only their own sensors": (
            f"{_NODE}/test_topics.py::test_two_nodes_in_two_namespaces_hear_only_their_own_sensors",
        ),
    },
    "Security": {
        "A bundle that was tampered with is refused. A pinned hash must match": (
            f"{_NODE}/test_lifecycle.py::"
            "test_a_tampered_bundle_is_refused_and_a_mended_one_is_taken",
            f"{_NODE}/test_loading.py::test_a_pinned_hash_must_match",
        ),
        "At run time the node uses no pickle, no eval, no network, no path below the working "
        "directory": (
            f"{_ROS}/test_run_time_safety.py::test_no_pickle_no_eval_no_network_no_working_folder",
            f"{_NODE}/test_bundle_path.py::test_a_relative_path_is_refused_even_where_it_exists",
        ),
        "The shipped SROS2 policy allows what the node needs and nothing more": (
            f"{_TOOLS}/test_security_policy.py::"
            "test_a_policy_allows_what_the_node_uses_and_nothing_else",
        ),
    },
}


def tests() -> set[str]:
    """Return every test that is named."""
    return {t for part in TESTED.values() for names in part.values() for t in names}
