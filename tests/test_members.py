import re
import shutil
from pathlib import Path

import pytest
import yaml

from ah_ray import storage
from ah_ray.config import RunConfig
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import (
    MEMBER_FILE,
    Member,
    MemberCard,
    engine_groups,
    ensemble_folder,
    is_complete,
    read_ensemble,
    read_member,
    require_settings,
    write_card,
)
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import Prompt, load_task


def card(name="v1", **changes) -> MemberCard:
    values = {
        "name": name,
        "weights": "adapter",
        "task": "cue_conflict",
        "prompt": "short",
        "model": ModelConfig(path="base"),
        "media": MediaConfig(),
        "segmentation": SegmentationConfig(),
    }
    return MemberCard(**values | changes)


def member(name, **changes) -> Member:
    return Member(f"members/{name}", card(name, **changes))


@pytest.fixture
def ensemble(tmp_path):
    """Writes members and gives their folder."""

    def write(*cards: MemberCard) -> str:
        for item in cards:
            path = storage.join(str(tmp_path), item.name, MEMBER_FILE)
            storage.write_bytes(path, write_card(item))
        return str(tmp_path)

    return write


def groups_of(*members) -> list[list[str]]:
    return [[m.name for m in group.members] for group in engine_groups(members)]


def test_a_card_reads_as_it_was_written(ensemble):
    written = card(
        trained={"recipe": {"epochs": 3}, "clips": 12, "note": "größer"},
        media=MediaConfig(fps=1.5),
        segmentation=SegmentationConfig(clip_s=2.5, min_tail_s=0),
    )
    uri = storage.join(ensemble(written), "v1")
    assert read_member(uri) == Member(uri, written)
    assert is_complete(uri)


def test_a_folder_without_a_card_is_no_member_yet(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "adapter.safetensors").touch()
    assert not is_complete(str(tmp_path / "v1"))
    assert not is_complete(str(tmp_path / "none"))


@pytest.mark.parametrize(
    "text", ["", "- a\n", "name: v1\n", "name: ../v1\n", "name: [\n", "weights: some\n"]
)
def test_a_wrong_card_names_its_file(tmp_path, text):
    # "name: [" is yaml.YAMLError today.
    (tmp_path / MEMBER_FILE).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_member(str(tmp_path))
    assert str(tmp_path / MEMBER_FILE) in caught.value.where


def test_the_ensemble_is_sorted_by_name(ensemble):
    uri = ensemble(card("v3"), card("v1"), card("v2"))
    assert [m.name for m in read_ensemble(uri)] == ["v1", "v2", "v3"]
    assert [m.name for m in read_ensemble(uri, ["v3", "v1"])] == ["v1", "v3"]
    assert [m.uri for m in read_ensemble(uri, ["v2"])] == [storage.join(uri, "v2")]


def test_a_member_named_twice_votes_once(ensemble):
    assert [m.name for m in read_ensemble(ensemble(card("v1")), ["v1", "v1"])] == ["v1"]


def test_unfinished_members_do_not_count(ensemble, tmp_path):
    uri = ensemble(card("v1"))
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "weights.bin").touch()
    assert [m.name for m in read_ensemble(uri)] == ["v1"]
    with pytest.raises(ConfigError, match="no finished member v2"):
        read_ensemble(uri, ["v1", "v2"])


@pytest.mark.parametrize("name", ["ensemble", "prior"])
def test_no_member_has_the_name_of_what_stands_beside_it_in_reports(ensemble, name):
    uri = ensemble(card("v1"), card(name))
    with pytest.raises(ConfigError, match=f"cannot be called {name}") as caught:
        read_ensemble(uri)
    assert caught.value.where == storage.join(uri, name)
    assert [m.name for m in read_ensemble(uri, ["v1"])] == ["v1"]


def test_an_empty_folder_is_no_ensemble(tmp_path):
    for uri in (str(tmp_path), str(tmp_path / "none")):
        with pytest.raises(ConfigError, match="holds no finished member") as caught:
            read_ensemble(uri)
        assert caught.value.where == uri
        assert "ah-ray train" in caught.value.fix


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        ("task.name", "cue_conflict", "ambivalence_hesitancy"),
        ("task.positive", "Yes", "Ja"),
        ("segmentation.clip_s", 5.0, 4.0),
    ],
)
def test_members_that_do_not_go_together_name_both_values(ensemble, key, ours, theirs):
    section, _, part = key.partition(".")
    other = getattr(card(), section).model_copy(update={part: theirs})
    uri = ensemble(card("v1"), card("v2", **{section: other}))
    with pytest.raises(ConfigError) as caught:
        read_ensemble(uri)
    assert caught.value.where == f"{uri}/v2/{MEMBER_FILE}: {key}"
    assert str(ours) in caught.value.problem
    assert str(theirs) in caught.value.problem
    assert "v1" in caught.value.problem
    assert len(read_ensemble(uri, ["v2"])) == 1


def test_members_may_differ_in_prompt_media_and_weights(ensemble):
    uri = ensemble(
        card("v1"),
        card("v2", weights="full", prompt="detailed"),
        card("v3", media=MediaConfig(fps=1)),
    )
    assert len(read_ensemble(uri)) == 3


def test_a_copied_member_is_not_another_member(ensemble, tmp_path):
    uri = ensemble(card("v1"))
    storage.write_bytes(storage.join(uri, "v2", MEMBER_FILE), write_card(card("v1")))
    with pytest.raises(ConfigError, match="v2"):
        read_ensemble(uri)


def test_adapters_of_one_base_share_an_engine():
    assert groups_of(member("a"), member("b"), member("c", prompt="detailed")) == [["a", "b", "c"]]


def test_full_checkpoints_have_engines_of_their_own():
    full = [member(name, weights="full") for name in "bc"]
    assert groups_of(member("a"), *full, member("d")) == [["a", "d"], ["b"], ["c"]]
    assert full[0].checkpoint == "members/b"
    assert member("a").checkpoint == "base"


@pytest.mark.parametrize(
    "change",
    [
        {"model": ModelConfig(path="other")},
        {"media": MediaConfig(fps=1)},
        {"model": ModelConfig(path="base", dtype="float32")},
        {"model": ModelConfig(path="base", attention="eager")},
    ],
    ids=str,
)
def test_what_is_loaded_or_seen_differently_is_apart(change):
    assert groups_of(member("a"), member("b", **change)) == [["a"], ["b"]]


def test_the_order_of_members_does_not_matter():
    members = [member("c"), member("b", weights="full"), member("a"), member("d")]
    assert groups_of(*members) == groups_of(*reversed(members)) == [["a", "c", "d"], ["b"]]


def test_a_group_is_called_after_its_members():
    (group,) = engine_groups([member("b"), member("a")])
    assert group.name == "a+b"
    assert group.checkpoint == "base"


def test_a_card_is_plain_yaml():
    values = yaml.safe_load(write_card(card()))
    assert values["segmentation"].items() >= {"clip_s": 5.0, "min_tail_s": 3.0}.items()
    assert MemberCard.model_validate(values) == card()


# A member and a run config


def run_config(**changes) -> RunConfig:
    values = {
        "catalog": {"entry": "e.yaml", "root": "r"},
        "task": "cue_conflict",
        "model": {"path": "base"},
        "recipes": {"lora": {"tuner": "lora", "learning_rate": 1}},
        "members": {"v1": {"recipe": "lora", "prompt": "short"}},
    }
    return RunConfig(**values | changes)


def trained_with(config: RunConfig, **changes) -> Member:
    return member("v1", **{"trained": {"recipe": config.recipe("v1").model_dump()}} | changes)


def test_a_member_fits_the_config_it_was_trained_with():
    require_settings(trained_with(run_config()), run_config())


@pytest.mark.parametrize(
    ("change", "key", "ours", "theirs"),
    [
        ({"media": {"fps": 1}}, "media.fps", "2.0", "1.0"),
        ({"segmentation": {"clip_s": 4}}, "segmentation.clip_s", "5.0", "4.0"),
        ({"task": "ambivalence_hesitancy"}, "task.name",
         "'cue_conflict'", "'ambivalence_hesitancy'"),
        ({"model": {"path": "b"}}, "model.path", "'base'", "'b'"),
        ({"members": {"v1": {"recipe": "lora", "prompt": "detailed"}}},
         "members.v1.prompt", "'short'", "'detailed'"),
        ({"recipes": {"lora": {"tuner": "lora", "learning_rate": 1, "epochs": 3}}},
         "members.v1: recipe.epochs", "1.0", "3.0"),
    ],
)  # fmt: skip
def test_other_settings_are_refused_with_both_values(change, key, ours, theirs):
    with pytest.raises(ConfigError) as caught:
        require_settings(trained_with(run_config()), run_config(**change))
    assert caught.value.where == key
    assert f"is {theirs} in the run config" in caught.value.problem
    assert f"trained with {ours} (members/v1/member.yaml)" in caught.value.problem


def test_a_member_is_asked_in_the_words_of_its_training(ensemble, tmp_path):
    task = load_task("cue_conflict")
    written = task.model_copy(
        update={"prompts": task.prompts | {"short": Prompt(system="s", user="Disagree?")}}
    )
    uri = storage.join(ensemble(card("v1", task=written.asking("short"))), "v1")
    found = read_member(uri)
    assert found.card.wording.user == "Disagree?"
    assert set(found.card.task.prompts) == {"short"}
    # Whoever changes a wording afterwards is told, and whoever adds another one is not.
    path = tmp_path / "task.yaml"
    path.write_text(written.model_dump_json())
    require_settings(found, run_config(task=str(path)))
    with pytest.raises(ConfigError) as caught:
        require_settings(found, run_config())
    assert caught.value.where == "task.prompts.short.system"
    assert "'s'" in caught.value.problem


def test_a_card_that_somebody_writes_may_name_its_task(tmp_path):
    values = yaml.safe_load(write_card(card()))
    for text, named in (("cue_conflict", None), ("other", "no task 'other'")):
        folder = tmp_path / text / "v1"
        content = yaml.safe_dump(values | {"task": text}).encode()
        storage.write_bytes(str(folder / MEMBER_FILE), content)
        if named is None:
            assert read_member(str(folder)).card == card()
        else:
            with pytest.raises(ConfigError, match=named) as caught:
                read_member(str(folder))
            assert str(folder / MEMBER_FILE) in caught.value.where


def test_a_card_with_a_prompt_that_its_task_lacks_is_wrong(tmp_path):
    content = yaml.safe_dump(yaml.safe_load(write_card(card())) | {"prompt": "none"}).encode()
    storage.write_bytes(str(tmp_path / "v1" / MEMBER_FILE), content)
    with pytest.raises(ConfigError, match=r"prompt 'none' is none of \['detailed', 'short'\]"):
        read_member(str(tmp_path / "v1"))


def test_the_attention_kernel_may_differ():
    config = run_config(model={"path": "base", "attention": "flash_attention_2"})
    require_settings(trained_with(config, model=ModelConfig(path="base")), config)


def test_a_card_without_a_recipe_or_with_a_part_of_one_is_no_mismatch():
    require_settings(member("v1"), run_config())
    require_settings(member("v1", trained={"recipe": {"tuner": "lora"}}), run_config())


def test_the_page_about_members_has_a_card_that_reads_and_every_key():
    page = (Path(__file__).parents[1] / "docs" / "members.md").read_text()
    written = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    by_hand = re.search(r"<<END\n(.*?)END", page, re.DOTALL)
    assert written is not None
    assert by_hand is not None
    assert written[1] == by_hand[1]
    found = MemberCard.model_validate(yaml.safe_load(written[1]))
    assert (found.name, found.weights, found.trained) == ("base", "base", {})
    models = (ModelConfig, MediaConfig, SegmentationConfig, MemberCard)
    keys = {key for model in models for key in model.model_fields}
    assert not {key for key in keys if not re.search(rf"[`.]{key}`", page)}


def test_an_ensemble_may_be_named_by_its_run(ensemble, tmp_path):
    folder = Path(ensemble(card("v1")))
    (tmp_path / "run").mkdir()
    assert ensemble_folder(str(folder)) == str(folder)
    inside = tmp_path / "run" / "members"
    shutil.copytree(folder / "v1", inside / "v1")
    assert ensemble_folder(str(tmp_path / "run")) == str(inside)
    # What lies deeper is no member of the ensemble.
    storage.write_bytes(str(inside / "old" / "v0" / MEMBER_FILE), write_card(card("v0")))
    assert [m.name for m in read_ensemble(str(inside))] == ["v1"]


def test_one_member_is_no_ensemble_and_says_how_to_choose_it(ensemble):
    uri = storage.join(ensemble(card("v1")), "v1")
    with pytest.raises(ConfigError, match="is one member") as caught:
        read_ensemble(uri)
    assert "--members v1" in caught.value.fix
