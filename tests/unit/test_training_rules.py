"""Each item of the trainer and each of its rules has a test, or a figure, that is named here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
BENCHMARKS = TESTS.parent / "benchmarks" / "training_parts"

RULES: dict[str, tuple[str, ...]] = {
    "M1": (
        "test_training_1_what_is_handed_over_and_what_comes_of_it_are_equal",
        "test_training_1_the_true_velocity_costs_nothing_and_leads_home",
        "test_training_1_noise_levels_are_shifted_as_the_pipeline_shifts_them",
    ),
    "M2": ("learning.py",),
    "M3": (
        "test_training_6_a_run_killed_again_and_again_ends_like_one_that_never_was",
        "test_training_6_a_broken_checkpoint_is_told_and_the_one_before_it_taken",
        "test_training_6_the_best_are_kept_of_those_that_are_there",
    ),
    "M4": (
        "test_training_6_a_bad_number_goes_back_skips_its_step_and_draws_anew",
        "test_training_6_an_explosion_halves_the_rate_and_the_same_step_never_fails_twice",
    ),
    "M5": ("test_training_5_every_optimizer_goes_on_to_the_bit",),
    "M6": (
        "kills.py",
        "test_training_6_with_everything_killed_the_watch_takes_it_up_once",
        "test_training_6_a_stage_is_taken_up_once_at_a_step_and_thrice_without_progress",
    ),
    "M7": (
        "comfyui.py",
        "test_training_9_flux2_is_written_in_names_of_its_makers_and_read_back",
        "test_training_1_a_lora_of_it_is_known_for_what_it_is",
    ),
    "M8": ("test_training_9_a_fresh_pipeline_draws_what_the_trained_copy_draws",),
    "M9": (
        "test_training_4_only_what_a_change_concerns_is_encoded_again",
        "test_training_4_a_source_that_is_not_the_one_that_was_added_is_refused",
        "test_training_4_latents_are_the_posteriors_mean_of_the_upright_unmirrored_crop",
    ),
    "M10": (
        "test_training_6_a_slow_step_is_told_by_its_own_buckets_measure",
        "test_training_6_a_slow_step_is_explained_by_swap_load_and_the_card",
    ),
    "M11": (
        "test_training_1_quantised_layers_compute_and_learn_with_the_weights_they_hold",
        "test_training_5_blocks_that_wait_on_the_host_learn_the_same",
        "test_training_5_two_processes_train_like_one_with_two_batches",
    ),
    "M12": (
        "test_training_5_a_rate_is_the_optimizers_own",
        "test_training_5_preservation_weighs_what_the_class_has_changed",
        "test_training_5_the_face_weighs_more_and_the_loss_stays_as_large",
    ),
    "M13": (
        "test_training_7_looks_space_themselves_to_their_share_of_the_time",
        "test_training_7_samples_are_what_the_pipeline_draws",
        "test_training_7_nothing_stops_by_itself_before_40_percent_or_under_8_pictures",
        "test_training_7_two_checkpoints_are_compared_by_pairs_of_one_prompt_and_seed",
        "test_training_8_a_drawn_character_is_seen_weakly_as_a_whole",
        "test_training_8_the_others_are_faces_of_other_personas",
    ),
    "M14": (
        "test_training_5_a_recipe_of_ai_toolkit_is_taken_over_and_the_rest_listed",
        "test_training_6_queued_trainings_run_one_after_the_other",
        "test_training_9_a_lora_is_trained_on_from_its_file",
        "test_training_9_a_merged_or_resized_lora_is_no_parent",
        "test_training_5_ways_are_timed_and_learn_alike",
    ),
    "M15": (
        "test_training_9_the_file_says_what_it_is_and_nothing_of_people_or_places",
        "test_training_9_a_post_says_which_of_its_loras_may_not_be_used_commercially",
    ),
    "F1": ("test_training_8_no_face_and_a_small_one_are_outcomes_of_their_own",),
    "F2": (
        "likeness.py",
        "test_training_8_a_threshold_is_found_from_the_references_and_holds_for_one_left_out",
        "test_training_8_variants_of_one_photograph_are_no_pair_and_without_others_the_usual_one_holds",
    ),
    "R32": (
        "test_training_12_a_card_has_one_holder_until_lock_process_and_driver_agree",
        "test_training_12_a_child_that_outlived_its_parent_keeps_the_card",
        "test_training_12_a_pid_of_another_process_is_no_sign_of_life",
    ),
}
"""Rule → tests, or parts of benchmarks/training.py where it takes minutes."""


def _functions(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name


@pytest.fixture(scope="module")
def named() -> dict[str, Path]:
    """All tests of the trainer, and the file of each."""
    return {name: path for path in sorted(TESTS.rglob("test_*.py")) for name in _functions(path)}


@pytest.mark.parametrize("rule", RULES)
def test_training_each_rule_has_what_shows_it(named: dict[str, Path], rule: str) -> None:
    missing = [name for name in RULES[rule] if name not in named and not (BENCHMARKS / name).is_file()]
    assert missing == []


@pytest.mark.parametrize("item", range(1, 13))
def test_training_each_item_has_tests_of_its_number(named: dict[str, Path], item: int) -> None:
    assert [name for name in named if name.startswith(f"test_training_{item}_")]


def test_training_tests_in_files_of_an_item_have_a_number(named: dict[str, Path]) -> None:
    files = {name: path.stem for name, path in named.items() if path.stem.startswith("test_training_")}
    bare = [name for name in files if not name.removeprefix("test_training_")[:1].isdigit()]
    assert [name for name in bare if files[name] != Path(__file__).stem] == []
