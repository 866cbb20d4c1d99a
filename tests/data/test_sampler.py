"""The order of training: a pure function of the seed, balanced, complete, and the same after a resume."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from torch.utils.data import DataLoader

from monai_dgm.data.sampler import BalancedBatchSampler, balance_groups

LABELS = [0] * 7 + [1] * 12 + [0] * 4  # 11 normal, 12 abnormal
NORMAL = {i for i, label in enumerate(LABELS) if label == 0}


def epochs(sampler: BalancedBatchSampler, count: int) -> list[list[int]]:
    return [batch for _ in range(count) for batch in sampler]


@pytest.mark.parametrize("normal_fraction", [0.5, 0.25, None])
@pytest.mark.parametrize("num_real", [0, 3])
def test_batches_are_a_pure_function_of_seed_and_number(normal_fraction: float | None, num_real: int) -> None:
    settings = {"batch_size": 4, "normal_fraction": normal_fraction, "num_real": num_real}
    forwards = [BalancedBatchSampler(LABELS, seed=3, **settings).batch(n) for n in range(40)]
    sampler = BalancedBatchSampler(LABELS, seed=3, **settings)
    backwards = [sampler.batch(n) for n in reversed(range(40))]
    assert forwards == backwards[::-1]
    assert forwards != [BalancedBatchSampler(LABELS, seed=4, **settings).batch(n) for n in range(40)]


@pytest.mark.parametrize("stop", range(0, 16))
def test_resumed_at_any_batch_the_rest_is_the_same(stop: int) -> None:
    def new() -> BalancedBatchSampler:
        return BalancedBatchSampler(LABELS, batch_size=4, epoch_length=5, seed=1)

    whole = epochs(new(), 3)
    resumed = new()
    resumed.next_batch = stop
    rest = list(itertools.chain.from_iterable(iter(lambda: list(resumed) if resumed.next_batch < 15 else [], [])))
    assert rest == whole[stop:]


def test_an_interrupted_epoch_is_finished_to_its_own_end() -> None:
    sampler = BalancedBatchSampler(LABELS, batch_size=4, epoch_length=5)
    sampler.next_batch = 7
    assert len(list(sampler)) == 3 and sampler.next_batch == 10
    assert len(list(sampler)) == 5 == len(sampler)


@pytest.mark.parametrize(("fraction", "normals"), [(0.5, 4), (0.25, 2), (1.0, 8), (0.75, 6)])
def test_batches_have_the_asked_share_of_normal_images(fraction: float, normals: int) -> None:
    sampler = BalancedBatchSampler(LABELS, batch_size=8, normal_fraction=fraction)
    for number in range(30):
        batch = sampler.batch(number)
        assert len(batch) == 8
        assert sum(i in NORMAL for i in batch) == normals


def test_each_class_is_seen_once_a_pass_in_another_order_each_time() -> None:
    sampler = BalancedBatchSampler(LABELS, batch_size=2)
    normal = [i for n in range(33) for i in sampler.batch(n) if i in NORMAL]
    passes = [normal[start : start + 11] for start in (0, 11, 22)]
    assert all(set(p) == NORMAL and len(p) == 11 for p in passes)
    assert len({tuple(p) for p in passes}) == 3


def test_without_balance_each_image_is_seen_once_a_pass() -> None:
    sampler = BalancedBatchSampler(LABELS, batch_size=1, normal_fraction=None)
    assert len(sampler) == len(LABELS)
    for _ in range(3):
        assert sorted(i for batch in sampler for i in batch) == list(range(len(LABELS)))


def test_passes_run_on_when_the_batch_does_not_divide_them() -> None:
    sampler = BalancedBatchSampler(LABELS, batch_size=5, normal_fraction=None)
    counts = Counter(i for n in range(23) for i in sampler.batch(n))  # 115 draws = 5 passes of 23
    assert set(counts.values()) == {5}


def test_a_batch_may_be_larger_than_a_class() -> None:
    batch = BalancedBatchSampler([0, 1, 1], batch_size=6).batch(0)
    assert batch[:3] == [0, 0, 0] and set(batch[3:]) == {1, 2}


def test_real_images_are_extra_normals_at_the_end() -> None:
    plain = BalancedBatchSampler(LABELS, batch_size=4, normal_fraction=None)
    more = BalancedBatchSampler(LABELS, batch_size=4, normal_fraction=None, num_real=3)
    real = []
    for number in range(11):
        batch = more.batch(number)
        assert batch[:4] == plain.batch(number)
        real += batch[4:]
    assert Counter(real) == dict.fromkeys(NORMAL, 3)  # a stream of its own, each normal once a pass


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("normal_fraction", [0.5, None])
def test_processes_share_out_the_sequence_of_one(world_size: int, normal_fraction: float | None) -> None:
    settings = {"batch_size": 4, "normal_fraction": normal_fraction, "num_real": 1, "seed": 2}
    alone = BalancedBatchSampler(LABELS, **settings)
    ranks = [BalancedBatchSampler(LABELS, rank=r, world_size=world_size, **settings) for r in range(world_size)]
    together = [ranks[n % world_size].batch(n // world_size) for n in range(24)]
    assert together == [alone.batch(n) for n in range(24)]


def test_processes_see_different_images_within_a_pass() -> None:
    ranks = [BalancedBatchSampler(LABELS, 2, normal_fraction=None, rank=r, world_size=2) for r in range(2)]
    seen = [{i for n in range(5) for i in sampler.batch(n)} for sampler in ranks]
    assert not seen[0] & seen[1]
    assert len(ranks[0]) == len(ranks[1]) == 5


@pytest.mark.parametrize(("labels", "missing"), [([1, 1], "normal"), ([0, 0], "abnormal")])
@pytest.mark.parametrize("normal_fraction", [0.5, None])
def test_a_missing_class_is_refused(labels: list[int], missing: str, normal_fraction: float | None) -> None:
    with pytest.raises(ValueError, match=f"got no {missing} one in 2 images"):
        BalancedBatchSampler(labels, batch_size=2, normal_fraction=normal_fraction)


def test_normals_alone_will_do_where_nothing_else_is_asked_for() -> None:
    assert BalancedBatchSampler([0, 0], batch_size=2, normal_fraction=1.0).batch(0) in ([0, 1], [1, 0])


@pytest.mark.parametrize(("batch_size", "fraction"), [(1, 0.5), (4, 0.1), (4, 0.95), (2, -0.5), (2, 1.5)])
def test_a_share_that_a_batch_cannot_hold_is_refused(batch_size: int, fraction: float) -> None:
    with pytest.raises(ValueError, match="normal_fraction"):
        BalancedBatchSampler(LABELS, batch_size=batch_size, normal_fraction=fraction)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="labels: expected 0 or 1, got"):
        BalancedBatchSampler([0, 1, float("nan")], batch_size=2)  # type: ignore[list-item]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_follows_it_epoch_by_epoch(workers: int) -> None:
    sampler = BalancedBatchSampler(LABELS, batch_size=4, epoch_length=3)
    loader = DataLoader(list(range(len(LABELS))), batch_sampler=sampler, num_workers=workers)  # type: ignore[arg-type]
    batches = [batch.tolist() for _ in range(3) for batch in loader]
    assert batches == [sampler.batch(n) for n in range(9)]
    assert len(loader) == 3


def test_groups_are_drawn_as_the_root_of_their_size() -> None:
    groups = ["large"] * 900 + ["small"] * 100
    labels = [0, 1] * 500
    sampler = BalancedBatchSampler(labels, batch_size=20, weights=balance_groups(groups), seed=1)
    drawn = Counter(groups[i] for number in range(400) for i in sampler.batch(number))
    assert drawn["small"] / drawn.total() == pytest.approx(0.25, abs=0.02)  # 10 of 10 + 30
    assert all(sum(labels[i] == 0 for i in sampler.batch(number)) == 10 for number in range(20))
    again = BalancedBatchSampler(labels, batch_size=20, weights=balance_groups(groups), seed=1)
    assert [again.batch(number) for number in (7, 3)] == [sampler.batch(number) for number in (7, 3)]
    assert balance_groups(groups, balanced=False) is None


@pytest.mark.parametrize("weights", [[1.0] * (len(LABELS) - 1), [0.0] * len(LABELS)])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights: expected a number above 0 for each of"):
        BalancedBatchSampler(LABELS, batch_size=4, weights=weights)
