"""Which checkpoint becomes the member. Scoring itself is tested end to end."""

import random

from ah_ray.pipelines.validate import Candidate, better_first
from ah_ray.training.checkpoints import Checkpoint


def candidate(step: int, macro_f1: float | None, loss: float | None) -> Candidate:
    return Candidate(Checkpoint("u", step, 0.0, None, loss), {"macro_f1": macro_f1})


def by_macro_f1(candidate: Candidate) -> tuple[float, float, int]:
    return better_first(candidate, "macro_f1")


def test_macro_f1_decides_then_the_loss_then_the_earlier():
    ordered = [
        candidate(40, 0.9, 0.5),
        candidate(20, 0.8, 0.1),
        candidate(10, 0.8, 0.2),
        candidate(30, 0.8, 0.2),
        candidate(5, 0.0, 0.0),
        candidate(50, None, 0.0),  # no video got a verdict
    ]
    for seed in range(5):
        shuffled = random.Random(seed).sample(ordered, len(ordered))
        assert sorted(shuffled, key=by_macro_f1) == ordered
    assert sorted([candidate(2, 0.5, None), candidate(1, 0.5, None)], key=by_macro_f1)[0][0][1] == 1


def test_any_metric_decides_or_the_loss_alone():
    useful = Candidate(Checkpoint("u", 1, 0.0, None, 0.9), {"uar": 0.9, "macro_f1": 0.1})
    fitting = Candidate(Checkpoint("u", 2, 0.0, None, 0.1), {"uar": 0.2, "macro_f1": 0.9})
    for metric, chosen in (("uar", useful), ("macro_f1", fitting), ("loss", fitting)):
        assert min(useful, fitting, key=lambda one: better_first(one, metric)) == chosen
