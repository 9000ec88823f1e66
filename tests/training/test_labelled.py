"""Batches where few records are labelled: half of each is, and all else of an order stays."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import load_file

from smvae_core.errors import ConfigError
from smvae_core.target import DecodedTarget
from smvae_datasets.vision_touch.prepared import PreparedEpisodes
from smvae_training.config import ContextConfig, DataConfig, TrainConfig
from smvae_training.run import split_episodes
from smvae_training.steps.contexts import Contexts
from smvae_training.steps.data import Batch, BatchOrder, StepStream, batch_order
from smvae_training.steps.labelled import LabelledOrder, labelled_records, with_labelled
from smvae_training.steps.stages import Stages
from tests.training.short_runs import rows_without_speed, run

RECORDS, BATCH = 200, 12


def marked(*records: int, total: int = RECORDS) -> np.ndarray:
    found = np.zeros(total, bool)
    found[list(records)] = True
    return found


def order_of(labelled: np.ndarray, share: float = 0.5, batch: int = BATCH, seed: int = 0):
    return with_labelled(batch_order(np.arange(len(labelled)), batch, seed), labelled, share)


def told_by(data: PreparedEpisodes, told: np.ndarray, *names: str) -> PreparedEpisodes:
    """Return the records, of which those `told` alone tell the targets `names`."""
    left = {
        name: replace(t, values=np.where(told[:, None], t.values, np.float32(np.nan)))
        for name, t in data.targets.items()
        if name in names
    }
    return replace(data, targets={**data.targets, **left})


def asking(config: TrainConfig, share: float = 0.5, *names: str) -> TrainConfig:
    return replace(config, data=replace(config.data, targets=names, labelled_share=share))


FEW = marked(*range(3, RECORDS, 10))


@pytest.mark.parametrize(
    ("share", "batch", "labelled"),
    [(0.5, 12, 6), (0.5, 13, 7), (0.75, 12, 9), (0.25, 10, 3), (0.99, 12, 11), (0.5, 100, 20)],
)
def test_each_batch_holds_the_share_or_all_that_are_labelled(
    share: float, batch: int, labelled: int
) -> None:
    order = order_of(FEW, share, batch)
    for step in range(3 * order.steps_per_epoch):
        records = order.records(step)
        assert len(records) == len(set(records)) == batch
        assert FEW[records].sum() == labelled


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("total", [1, 2, 3, 5, 8, 40])
def test_every_number_of_labels_makes_whole_batches_with_both_kinds_in_them(
    total: int, share: float
) -> None:
    for count in range(total + 1):
        labelled = marked(*range(count), total=total)
        for batch in range(2, total + 3):
            order = order_of(labelled, share, batch)
            records = order.records(7)
            assert len(records) == len(set(records)) == min(batch, total)
            if isinstance(order, LabelledOrder):
                assert 0 < labelled[records].sum() < len(records)
                wanted = min(share * len(records), count, len(records) - 1)
                assert labelled[records].sum() >= wanted - 1e-9


@pytest.mark.parametrize(
    ("labelled", "share"),
    [
        (np.ones(RECORDS, bool), 0.5),
        (np.zeros(RECORDS, bool), 0.5),
        (marked(*range(RECORDS // 2)), 0.5),
        (FEW, 0.1),
        (FEW, 0.0),
    ],
)
def test_an_order_stays_where_none_all_or_enough_are_labelled(
    labelled: np.ndarray, share: float
) -> None:
    order = batch_order(np.arange(RECORDS), BATCH, 0)
    assert with_labelled(order, labelled, share) is order


def test_every_record_comes_once_in_a_pass_over_its_kind() -> None:
    order = order_of(FEW, batch=24)  # 12 of 20 labelled, 12 of 180 others: 15 steps
    seen = np.concatenate([order.records(step) for step in range(15)])
    others, times = np.unique(seen[~FEW[seen]], return_counts=True)
    np.testing.assert_array_equal(others, np.flatnonzero(~FEW))
    assert (times == 1).all()
    labels, times = np.unique(seen[FEW[seen]], return_counts=True)
    np.testing.assert_array_equal(labels, np.flatnonzero(FEW))
    assert times.sum() == 12 * 15


def test_training_records_alone_come() -> None:
    index = np.arange(50, 150)
    order = with_labelled(batch_order(index, BATCH, 0), FEW, 0.5)
    seen = np.concatenate([order.records(step) for step in range(200)])
    np.testing.assert_array_equal(np.unique(seen), index)


def test_a_step_is_a_function_of_seed_and_number_and_an_epoch_as_long_as_before() -> None:
    straight = order_of(FEW, seed=1)
    seen = [straight.records(step) for step in range(40)]
    assert np.array_equal(order_of(FEW, seed=1).records(39), seen[39])
    assert not np.array_equal(order_of(FEW, seed=2).records(39), seen[39])
    assert straight.steps_per_epoch == batch_order(np.arange(RECORDS), BATCH, 0).steps_per_epoch


def test_a_record_is_labelled_by_any_target_that_was_recorded(episodes: PreparedEpisodes) -> None:
    total = len(episodes)
    some, others = marked(1, 2, total=total), marked(2, 9, total=total)
    data = told_by(told_by(episodes, some, "offset"), others, "hole")
    one = DecodedTarget(name="offset", mean=(0.0,) * 3, deviation=(1.0,) * 3)
    computed = replace(one, name="contact", mean=(0.0,), deviation=(1.0,), rule="by its force")
    hole = replace(one, name="hole", mean=(0.0,) * 5, deviation=(1.0,) * 5)
    np.testing.assert_array_equal(labelled_records(data, [one, hole]), some | others)
    np.testing.assert_array_equal(labelled_records(data, [one, computed]), some)
    assert not labelled_records(data, [computed]).any()
    assert not labelled_records(data, []).any()


@pytest.mark.parametrize("devices", [2, 3, 7])
def test_devices_share_such_a_batch_row_by_row(episodes: PreparedEpisodes, devices: int) -> None:
    data = told_by(episodes, marked(*range(0, 60, 9), total=60), "offset")
    order = order_of(data.targets["offset"].known, batch=10)
    assert isinstance(order, LabelledOrder)
    whole = StepStream(data, order, lambda: 0, targets=["offset"]).batch(4)
    assert whole.targets["offset"].isfinite().all(1).sum() == 5
    parts = [
        StepStream(data, order, lambda: 0, (rank, devices), targets=["offset"]).batch(4)
        for rank in range(devices)
    ]
    assert sum(len(part.present) for part in parts) == 10
    for rank, part in enumerate(parts):
        mine = slice(rank, None, devices)
        assert torch.equal(part.present, whole.present[mine])
        assert torch.equal(part.arrays["force"], whole.arrays["force"][mine])
        wanted = whole.targets["offset"][mine]
        torch.testing.assert_close(part.targets["offset"], wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("stage", ["match", "tune"])
def test_what_is_remembered_belongs_to_the_records_of_such_a_batch(
    episodes: PreparedEpisodes, stage: str
) -> None:
    """In `match` three batches are one, in which a labelled record may come again."""
    labelled = marked(5, 17, 30, total=60)
    order = order_of(labelled, batch=8)
    contexts = Contexts(episodes, order.index, ContextConfig(jitter_s=0.0), 2.0, 0)
    stages = Stages(own=0, **{stage: 40})
    stream = StepStream(
        episodes, order, lambda: 0, contexts=contexts, stages=stages, match_batches=3
    )
    found = 0
    for step in range(10):
        references = stream.batch(step).references
        assert references is not None
        assert labelled[references.record].sum() == (9 if stage == "match" else 3)
        for record, owner, age_s in references.remembered.values():
            of = references.record[owner]
            assert (episodes.group[record] == episodes.group[of]).all()
            real = (episodes.stamp_ns[of] - episodes.stamp_ns[record]) * 1e-9
            np.testing.assert_allclose(age_s, real, atol=1e-6)
            found += len(record)
    assert found > 100


def few_told(episodes: PreparedEpisodes) -> PreparedEpisodes:
    return told_by(episodes, np.arange(len(episodes)) % 10 == 1, *episodes.targets)


class Seen(Callback):
    """Counts rows with a target in each batch that is trained on."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self.told.append(int(batch.targets["offset"].isfinite().all(1).sum()))


def test_half_of_what_is_trained_on_is_labelled_and_the_log_says_so(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen, data = Seen(), few_told(episodes)
    with caplog.at_level(logging.INFO):
        run(asking(config, 0.5, "all"), data, tmp_path / "run", callbacks=[seen])
    assert seen.told == [4] * 4
    said = "of 48 training records have targets: 4 of the 8 of each batch are drawn from them"
    assert sum(said in line for line in caplog.messages) == 1


@pytest.mark.parametrize("names", [(), ("all",)])
def test_without_targets_and_with_all_labelled_losses_are_those_of_before(
    config: TrainConfig,
    episodes: PreparedEpisodes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    names: tuple[str, ...],
) -> None:
    with caplog.at_level(logging.INFO):
        ours = run(asking(config, 0.5, *names), episodes, tmp_path / "ours")
    before = run(asking(config, 0.0, *names), episodes, tmp_path / "before")
    assert rows_without_speed(ours) == rows_without_speed(before)
    assert not any("have targets" in line for line in caplog.messages)


def test_few_labels_as_they_come_are_those_of_before(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    seen, data = Seen(), few_told(episodes)
    run(asking(config, 0.0, "all"), data, tmp_path / "run", callbacks=[seen])
    plain = batch_order(split_episodes(config, data).train, config.batch_size, config.seed)
    told = data.targets["offset"].known
    assert type(plain) is BatchOrder
    assert seen.told == [int(told[plain.records(step)].sum()) for step in range(4)]


def test_stopping_and_resuming_equals_going_straight(
    config: TrainConfig, episodes: PreparedEpisodes, tmp_path: Path
) -> None:
    config, data = replace(asking(config, 0.5, "all"), max_steps=9), few_told(episodes)
    straight = run(config, data, tmp_path / "straight")  # an epoch has six steps
    for step in (3, 7):
        run(config, data, tmp_path / "parts", resume=step > 3, stop_after=step)
    parts = run(config, data, tmp_path / "parts", resume=True)
    ours, theirs = load_file(parts.weights), load_file(straight.weights)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert rows_without_speed(parts) == rows_without_speed(straight)


def test_a_run_of_before_had_its_records_as_they_came(config: TrainConfig) -> None:
    for names, share in (((), DataConfig.labelled_share), (("offset",), 0.0)):
        old = asking(config, 0.5, *names).to_json()
        del old["data"]["labelled_share"]
        assert TrainConfig.from_json(old).data.labelled_share == share


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.labelled-share must lie in \[0, 1\), got"):
        DataConfig(labelled_share=share)
