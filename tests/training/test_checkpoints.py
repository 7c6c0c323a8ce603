import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import storage
from ah_ray.training.checkpoints import (
    Checkpoint,
    best,
    complete_checkpoints,
    delete,
    delete_incomplete,
    mark_complete,
    needed_by,
    publish,
    superseded,
    upload,
)

OF_THE_TRAINER = [
    *("optimizer.pt", "scheduler.pt", "rng_state.pth", "rng_state_3.pth", "training_args.bin"),
    *("README.md", "args.json", "zero_to_fp32.py", "zero_to_torch.py"),
    *("trainer_state.json", "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt", "latest"),
    *("iter_0000005/__0_0.distcp", "iter_0000005/common.pt", "latest_checkpointed_iteration.txt"),
]
OF_THE_MODEL = ["config.json", "model-00001-of-00002.safetensors", "sub/adapter_model.safetensors"]


@pytest.fixture(params=["disk", "object store"])
def store(request, tmp_path) -> str:
    if request.param == "disk":
        return str(tmp_path / "checkpoints")
    return f"memory:///{uuid.uuid4().hex}/checkpoints"


def write(store: str, step: int, eval_loss: float | None = None, complete=True) -> Checkpoint:
    checkpoint = Checkpoint(f"{store}/checkpoint-{step}", step, step / 10, 0.5, eval_loss)
    for name in [*OF_THE_TRAINER, *OF_THE_MODEL]:
        storage.write_bytes(f"{checkpoint.uri}/{name}", f"{step} {name}".encode())
    if complete:
        mark_complete(checkpoint)
    return checkpoint


def names(uri: str) -> set[str]:
    return {file.partition(f"{uri.strip('/')}/")[2] for file in storage.list_files(uri)}


def test_only_complete_checkpoints_are_seen_in_order_of_steps(store):
    later, earlier = write(store, 100, 0.25), write(store, 20)
    write(store, 300, complete=False)
    found = complete_checkpoints(store)
    assert [c._replace(uri="") for c in found] == [c._replace(uri="") for c in (earlier, later)]
    assert [names(c.uri) == names(f"{store}/checkpoint-{c.step}") for c in found] == [True, True]


def test_there_may_be_none(store):
    assert complete_checkpoints(store) == []
    delete_incomplete(store)


def test_what_a_crash_left_is_deleted_and_nothing_else(store):
    write(store, 20)
    write(store, 300, complete=False)
    storage.write_bytes(f"{store}/logging.jsonl", b"")
    delete_incomplete(store)
    assert {name.split("/")[0] for name in names(store)} == {"checkpoint-20", "logging.jsonl"}


def test_a_deleted_checkpoint_is_gone(store):
    write(store, 20)
    (checkpoint,) = complete_checkpoints(store)
    delete(checkpoint)
    assert names(store) == set()


def test_a_node_brings_what_its_ranks_and_all_need(tmp_path):
    uri = f"memory:///{uuid.uuid4().hex}/checkpoint-5"
    shared = ["optimizer.pt", "latest", "global_step5/mp_rank_00_model_states.pt", *OF_THE_MODEL]
    of_rank = [
        "rng_state_{}.pth",
        "global_step5/zero_pp_rank_{}_mp_rank_00_model_states.pt",
        "global_step5/zero_pp_rank_{}_mp_rank_00_optim_states.pt",
        "global_step5/bf16_zero_pp_rank_{}_mp_rank_00_optim_states.pt",
    ]
    for name in [*shared, *(file.format(rank) for file in of_rank for rank in (0, 1, 2, 12))]:
        storage.write_bytes(f"{uri}/{name}", b"x")
    storage.get(uri, tmp_path / "node", lambda name: needed_by(range(2, 4), name))
    assert names(str(tmp_path / "node")) == {*shared, *(file.format(2) for file in of_rank)}


def test_each_node_uploads_its_part(store, tmp_path):
    for node in (0, 1):
        folder = tmp_path / str(node)
        (folder / "global_step1").mkdir(parents=True)
        (folder / "global_step1" / f"rank{node}.pt").write_bytes(b"x")
        upload(folder, f"{store}/checkpoint-1")
    assert names(f"{store}/checkpoint-1") == {"global_step1/rank0.pt", "global_step1/rank1.pt"}


@pytest.mark.parametrize("marker", ["member.yaml", "config.json"])
def test_a_member_has_the_model_and_not_the_trainer(store, marker):
    files = {"member.yaml": b"name: v1\n"}
    checkpoint = write(store, 20)
    target = store.replace("checkpoints", "members/v1")
    storage.write_bytes(f"{target}/old.bin", b"from a publication that was cut off")
    publish(checkpoint, target, files, marker)
    assert names(target) == {*OF_THE_MODEL, "member.yaml"}
    assert storage.read_bytes(f"{target}/member.yaml") == b"name: v1\n"
    for name in OF_THE_MODEL:
        assert storage.read_bytes(f"{target}/{name}") == f"20 {name}".encode()
    assert set(OF_THE_TRAINER) < names(checkpoint.uri)  # it stays whole
    assert not [name for name in names(store) if name.startswith(".tmp")]


def test_a_local_member_takes_no_further_room(tmp_path):
    checkpoint = write(str(tmp_path / "checkpoints"), 20)
    publish(checkpoint, str(tmp_path / "v1"), {}, "config.json")
    for name in OF_THE_MODEL:
        assert os.path.samefile(tmp_path / "v1" / name, f"{checkpoint.uri}/{name}")


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_others_can_read_a_local_member_as_far_as_the_umask_lets_them(tmp_path, mask):
    checkpoint = write(str(tmp_path / "checkpoints"), 20)
    weights = [Path(checkpoint.uri, name) for name in OF_THE_MODEL]
    for file in weights[1:]:  # as safetensors leaves them
        file.chmod(0o600)
    before = os.umask(mask)
    try:
        publish(checkpoint, str(tmp_path / "v1"), {"member.yaml": b"x"}, "member.yaml")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "v1").rglob("*") if path.is_file()]
    assert len(files) == len(OF_THE_MODEL) + 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666 & ~mask}


CHECKPOINTS = st.lists(
    st.builds(
        Checkpoint,
        uri=st.just("u"),
        step=st.integers(1, 1000),
        epoch=st.just(0.0),
        loss=st.none(),
        eval_loss=st.none() | st.floats(0, 1),
    ),
    unique_by=lambda checkpoint: checkpoint.step,
    min_size=1,
)


@given(CHECKPOINTS, st.integers(1, 5))
def test_the_newest_and_the_best_stay(checkpoints, limit):
    gone = superseded(checkpoints, limit)
    left = [c for c in checkpoints if c not in gone]
    assert len(left) <= limit + 1
    newest = max(checkpoints, key=lambda c: c.step)
    assert newest in left
    losses = [c.eval_loss for c in checkpoints if c.eval_loss is not None]
    if losses:
        assert min(losses) == best(left).eval_loss
    else:
        assert len(left) == min(limit, len(checkpoints))
    if len(checkpoints) <= limit:
        assert not gone


def test_of_equals_the_earlier_is_best():
    a, b, c = (Checkpoint("u", step, 0.0, None, 0.5) for step in (1, 2, 3))
    assert best([a, b, c]) is a
    assert best([a._replace(eval_loss=None), b._replace(eval_loss=None)]).step == 2
