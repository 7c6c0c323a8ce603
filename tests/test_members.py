import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ah_ray import storage
from ah_ray.config import RunConfig, load_config
from ah_ray.engines.config import ScoreConfig
from ah_ray.ensemble import engine_groups, ensemble_folder, in_order, read_ensemble, voting
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.members import (
    MEMBER_FILE,
    Member,
    MemberCard,
    asked,
    card_of,
    is_complete,
    read_member,
    require_settings,
    write_card,
)
from ah_ray.models.config import ModelConfig
from ah_ray.tasks import Prompt, Question, load_task
from ah_ray.tasks.answers import Choice, Labels, Reading, Text


def card(name="v1", **changes) -> MemberCard:
    values = {
        "name": name,
        "weights": "adapter",
        "question": load_task("cue_conflict").question(changes.pop("prompt", "short"), "prompt"),
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


@pytest.mark.parametrize("name", ["ensemble", "prior", "subtitle"])
def test_no_member_has_the_name_of_what_stands_beside_it_in_reports_or_prompts(ensemble, name):
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
        ("question.name", "cue_conflict", "ambivalence_hesitancy"),
        ("question.answer.options", ("Yes", "No"), ("Ja", "No")),
        ("question.answer.absent", "No", None),
        ("question.answer.reply", "<answer>{answer}</answer>", "{answer}"),
        ("segmentation.clip_s", 5.0, 4.0),
    ],
)
def test_members_that_do_not_go_together_name_both_values(ensemble, key, ours, theirs):
    section, *between, part = key.split(".")
    changed = {part: theirs}
    for name in between:
        changed = {name: getattr(getattr(card(), section), name).model_copy(update=changed)}
    other = getattr(card(), section).model_copy(update=changed)
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
        card("v4", weights="base", model=ModelConfig(path="other"), decoding="generate"),
    )
    assert len(read_ensemble(uri)) == 4


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
        {"media": MediaConfig(picture="images")},
        {"media": MediaConfig(square=64)},
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
        "recipes": {"lora": {"lora": {}, "learning_rate": 1}},
        "members": {"v1": {"recipe": "lora", "prompt": "short"}},
    }
    return RunConfig(**values | changes)


def trained_with(config: RunConfig, **changes) -> Member:
    return member(
        "v1", **{"trained": {"recipe": config.recipe("v1").model_dump(mode="json")}} | changes
    )


def test_a_member_fits_the_config_it_was_trained_with():
    require_settings(trained_with(run_config()), run_config())


@pytest.mark.parametrize(
    ("change", "key", "ours", "theirs"),
    [
        ({"media": {"fps": 1}}, "media.fps", "2.0", "1.0"),
        ({"media": {"square": 448}}, "media.square", "None", "448"),
        ({"media": {"picture": "images"}}, "media.picture", "'video'", "'images'"),
        ({"segmentation": {"clip_s": 4}}, "segmentation.clip_s", "5.0", "4.0"),
        ({"task": "ambivalence_hesitancy"}, "task.name",
         "'cue_conflict'", "'ambivalence_hesitancy'"),
        ({"model": {"path": "b"}}, "model.path", "'base'", "'b'"),
        ({"members": {"v1": {"recipe": "lora", "prompt": "detailed"}}},
         "members.v1: prompt.user", "'Smile or frown", "'Look at the mouth"),
        ({"members": {"v1": {"recipe": "lora", "prompt": "short", "decoding": "generate"}}},
         "members.v1.decoding", "'answer'", "'generate'"),
        ({"members": {"v1": {"recipe": "lora", "prompt": "short", "max_new_tokens": 8}}},
         "members.v1.max_new_tokens", "32", "8"),
        ({"members": {"v1": {"recipe": None, "prompt": "short"}}},
         "members.v1: weights", "'adapter'", "'base'"),
        ({"recipes": {"lora": {"lora": {}, "learning_rate": 1, "epochs": 3}}},
         "members.v1: recipe.epochs", "1.0", "3.0"),
        ({"recipes": {"lora": {"lora": {"rank": 4}, "learning_rate": 1}}},
         "members.v1: recipe.lora.rank", "8", "4"),
        ({"recipes": {"lora": {"full": {}, "learning_rate": 1}}},
         "members.v1: weights", "'adapter'", "'full'"),
        ({"recipes": {"lora": {"lora": {}, "grpo": {}, "learning_rate": 1}}},
         "members.v1: recipe.algorithm", "'sft'", "'grpo'"),
    ],
)  # fmt: skip
def test_other_settings_are_refused_with_both_values(change, key, ours, theirs):
    with pytest.raises(ConfigError) as caught:
        require_settings(trained_with(run_config()), run_config(**change))
    assert caught.value.where == key
    assert f"is {theirs}" in caught.value.problem
    assert " in the run config" in caught.value.problem
    assert f"trained with {ours}" in caught.value.problem
    assert caught.value.problem.endswith(" (members/v1/member.yaml)")


def test_a_member_is_asked_in_the_words_of_its_training(ensemble, tmp_path):
    task = load_task("cue_conflict")
    words = Prompt(system="s", user="Disagree?")
    written = task.question("short", "k").model_copy(update={"prompt": words})
    found = read_member(storage.join(ensemble(card("v1", question=written)), "v1"))
    assert found.card.question == written
    # Whoever changes a wording afterwards is told, and whoever adds another one is not.
    changed = task.model_copy(update={"prompts": task.prompts | {"short": words, "more": words}})
    path = tmp_path / "task.yaml"
    path.write_text(changed.model_dump_json())
    require_settings(found, run_config(task=str(path)))
    with pytest.raises(ConfigError) as caught:
        require_settings(found, run_config())
    assert caught.value.where == "members.v1: prompt.system"
    assert "'s'" in caught.value.problem


def by_hand(**changes) -> bytes:
    """A card that names its task and the wording."""
    values = yaml.safe_load(write_card(card()))
    del values["question"]
    return yaml.safe_dump(values | {"task": "cue_conflict", "prompt": "short"} | changes).encode()


def test_a_card_that_somebody_writes_may_name_its_task(tmp_path):
    for text, named in (("cue_conflict", None), ("other", "no task 'other'")):
        folder = tmp_path / text / "v1"
        storage.write_bytes(str(folder / MEMBER_FILE), by_hand(task=text))
        if named is None:
            assert read_member(str(folder)).card == card()
        else:
            with pytest.raises(ConfigError, match=named) as caught:
                read_member(str(folder))
            assert str(folder / MEMBER_FILE) in caught.value.where


def test_a_card_with_a_prompt_that_its_task_lacks_is_wrong(tmp_path):
    storage.write_bytes(str(tmp_path / "v1" / MEMBER_FILE), by_hand(prompt="none"))
    with pytest.raises(ConfigError, match=r"no prompt 'none' \(one of \['detailed', 'short'\]\)"):
        read_member(str(tmp_path / "v1"))


def test_a_card_has_a_question_or_the_name_of_one(tmp_path):
    both = yaml.safe_load(write_card(card())) | {"task": "cue_conflict", "prompt": "short"}
    storage.write_bytes(str(tmp_path / "v1" / MEMBER_FILE), yaml.safe_dump(both).encode())
    with pytest.raises(ConfigError, match="unknown key"):
        read_member(str(tmp_path / "v1"))


def test_the_attention_kernel_may_differ():
    config = run_config(model={"path": "base", "attention": "flash_attention_2"})
    require_settings(trained_with(config, model=ModelConfig(path="base")), config)


def test_a_card_without_a_recipe_or_with_a_part_of_one_is_no_mismatch():
    require_settings(member("v1"), run_config())
    require_settings(member("v1", trained={"recipe": {"tuner": "lora"}}), run_config())


# A card of the first format: two words for answers, and a flat recipe


@pytest.fixture
def flat() -> Member:
    return read_member(str(Path(__file__).parent / "cards" / "v1"))


def demo_config(*overrides: str) -> RunConfig:
    root = Path(__file__).parents[1]
    return load_config(root / "jobs" / "demo.yaml", str(root / "tests"), overrides)


def test_a_card_of_two_words_reads_as_a_question(flat):
    assert flat.card.question == Question(
        name="cue_conflict",
        answer=Choice(
            kind="choice", options=("Yes", "No"), absent="No", reply="<answer>{answer}</answer>"
        ),
        prompt=Prompt(
            system="You watch a short clip and compare what is seen with what is heard.",
            user="Smile or frown, bright or dull: do the face and the tone disagree?",
        ),
    )
    assert flat.card.question == load_task("cue_conflict").question("short", "k")
    assert (flat.card.decoding, flat.card.max_new_tokens, flat.card.reads) == ("answer", 32, ())
    assert voting([flat]) == [flat]


def test_words_of_ones_own_in_a_card_of_two_words_stay(tmp_path, flat):
    values = yaml.safe_load((Path(flat.uri) / MEMBER_FILE).read_text())
    values["task"] |= {"name": "mine", "positive": "Ja", "negative": "Nein", "answer": "[{answer}]"}
    storage.write_bytes(str(tmp_path / "v1" / MEMBER_FILE), yaml.safe_dump(values).encode())
    question = read_member(str(tmp_path / "v1")).card.question
    assert (question.name, question.answer.options) == ("mine", ("Ja", "Nein"))
    assert question.answer.absent == "Nein"
    assert question.answer.read("Well: [ja]") == Reading(frozenset({"Ja"}))
    for key, value in (("answer", "no slot"), ("negative", "ja"), ("prompts", {})):
        wrong = yaml.safe_dump(values | {"task": values["task"] | {key: value}}).encode()
        storage.write_bytes(str(tmp_path / "v1" / MEMBER_FILE), wrong)
        with pytest.raises(ConfigError) as caught:
            read_member(str(tmp_path / "v1"))
        assert MEMBER_FILE in caught.value.where


def test_a_card_of_two_words_is_written_as_a_question(flat):
    values = yaml.safe_load(write_card(flat.card))
    assert not {"task", "prompt"} & values.keys()
    assert MemberCard.model_validate(values) == flat.card


def test_a_flat_recipe_is_read_as_one_of_today(flat):
    assert flat.card.recipe["lora.rank"] == 8
    assert (flat.card.recipe["tuner"], flat.card.recipe["algorithm"]) == ("lora", "sft")
    today = demo_config().recipe("v1").model_dump(mode="json")
    ours = card(trained={"recipe": today}).recipe
    assert ours.items() <= flat.card.recipe.items()
    require_settings(flat, demo_config(f"model.path={flat.card.model.path}"))


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("recipes.lora.lora.targets=experts", "recipe.lora.targets"),
        ("recipes.lora.grpo={generations: 4}", "recipe.algorithm"),
        ("members.v1.overrides={full: {}}", "weights"),
        ("recipes.lora.seed=1", "recipe.seed"),
    ],
)
def test_a_flat_recipe_that_is_another_is_refused(flat, override, key):
    config = demo_config(f"model.path={flat.card.model.path}", "recipes.lora.lora.dropout=0",
                         override)  # fmt: skip
    no_dropout = flat.card.trained["recipe"] | {"lora_dropout": 0.0}
    changed = flat.card.model_copy(update={"trained": {"recipe": no_dropout}})
    with pytest.raises(ConfigError) as caught:
        require_settings(Member(flat.uri, changed), config)
    assert caught.value.where == f"members.v1: {key}"


def test_what_a_card_states_is_not_rewritten(flat):
    """Its member's fingerprint has it, and with it all that the member has answered."""
    written = yaml.safe_load((Path(flat.uri) / MEMBER_FILE).read_text())
    assert flat.card.trained == written["trained"]
    assert yaml.safe_load(write_card(flat.card))["trained"] == written["trained"]


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


# Cards of earlier versions


def in_older_words(card_bytes: bytes, **model) -> bytes:
    values = yaml.safe_load(card_bytes)
    del values["model"]["architecture"]
    values["model"] |= {"template": "qwen3_omni", "thinker_only": True} | model
    return yaml.safe_dump(values).encode()


def test_a_card_that_names_the_architecture_as_ms_swift_does_is_understood(tmp_path):
    written = write_card(card())
    sees = write_card(card(media=MediaConfig(size_multiple=28, audio="none")))
    for number, (old, architecture) in enumerate(
        [
            (in_older_words(written, model_type="qwen3_omni_moe"), "qwen3_omni"),
            (in_older_words(written), "qwen3_omni"),
            (in_older_words(sees, model_type="qwen2_5_vl", template="qwen2_5_vl"), "qwen2_5_vl"),
        ]
    ):
        uri = str(tmp_path / str(number) / "v1")
        storage.write_bytes(f"{uri}/{MEMBER_FILE}", old)
        assert read_member(uri).card.model.architecture == architecture
    storage.write_bytes(f"{uri}/{MEMBER_FILE}", in_older_words(written, model_type="x_vl"))
    with pytest.raises(ConfigError, match=r"model\.model_type: is x_vl"):
        read_member(uri)


def test_what_media_do_not_use_is_not_on_a_card_and_binds_nobody():
    of_video = MediaConfig(images=9, pick="random")
    assert of_video.model_dump() == MediaConfig().model_dump()
    assert not {"images", "pick", "square"} & of_video.model_dump().keys()
    config = run_config(media={"images": 9})
    require_settings(trained_with(config), config)
    assert groups_of(member("a"), member("b", media=of_video)) == [["a", "b"]]
    of_images = MediaConfig(picture="images", images=9, pick="random", square=64)
    assert MediaConfig.model_validate(of_images.model_dump()) == of_images
    config = run_config(media=of_images.model_dump() | {"images": 8})
    with pytest.raises(ConfigError, match=r"media\.images"):
        require_settings(trained_with(config, media=of_images), config)


def test_a_card_of_a_model_without_ears_that_is_to_hear_is_refused(tmp_path):
    model = ModelConfig(path="base", architecture="qwen2_5_vl")
    storage.write_bytes(str(tmp_path / "v1" / MEMBER_FILE), write_card(card(model=model)))
    with pytest.raises(ConfigError, match=r"member\.yaml: media\.audio"):
        read_member(str(tmp_path / "v1"))


# Members that read members


def describing(name, **changes) -> Member:
    asks = Prompt(system="s", user="What do you see?")
    question = Question(name="describe", answer=Text(kind="text"), prompt=asks)
    return member(name, question=question, **changes)


def names(members) -> list[str]:
    return [member.name for member in members]


@given(st.permutations(["a", "b", "c", "d", "e"]))
def test_members_come_after_those_that_they_read(order):
    reads = {"a": ("d",), "b": ("a", "e"), "d": ("c",)}
    members = [member(name, reads=reads.get(name, ())) for name in order]
    found = names(in_order(members, "k"))
    assert sorted(found) == sorted(order)
    for reader, read in reads.items():
        assert all(found.index(name) < found.index(reader) for name in read)
    assert found == names(in_order(members[::-1], "k"))


@pytest.mark.parametrize(
    ("reads", "circle"),
    [
        ({"a": ("a",)}, ["a reads a"]),
        ({"a": ("b",), "b": ("a",)}, ["a reads b reads a", "b reads a reads b"]),
        ({"a": ("b",), "b": ("c",), "c": ("a",)},
         ["a reads b reads c reads a", "b reads c reads a reads b", "c reads a reads b reads c"]),
    ],
)  # fmt: skip
def test_members_that_read_each_other_are_refused(reads, circle, ensemble):
    cards = [card(name, reads=reads.get(name, ())) for name in "abc"]
    with pytest.raises(ConfigError) as caught:
        read_ensemble(ensemble(*cards))
    assert caught.value.problem in [f"member {one}" for one in circle]


def test_a_member_is_not_scored_without_those_that_it_reads(ensemble):
    uri = ensemble(card("a", reads=("b", "c")), describing("b").card, describing("c").card)
    assert names(read_ensemble(uri)) == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="member a reads c, which is not among them") as caught:
        read_ensemble(uri, ["a", "b"])
    assert caught.value.where == uri


def test_who_votes():
    members = [
        member("judge", reads=("hint", "describer")),
        member("other"),
        member("hint"),  # answers the question, but as a hint
        describing("describer"),
        describing("nobody_reads_it"),
    ]
    assert names(voting(members)) == ["judge", "other"]
    assert names(voting(members[2:])) == ["hint"]
    assert voting(members[3:]) == []


def test_only_members_that_vote_need_one_question(ensemble):
    words = Question(name="w", answer=Labels(kind="labels"), prompt=Prompt(system="s", user="{d}"))
    labelling = card("w", question=words, reads=("d",))
    assert len(read_ensemble(ensemble(labelling, describing("d").card))) == 2
    with pytest.raises(ConfigError, match="they cannot vote together") as caught:
        read_ensemble(ensemble(labelling, describing("d").card, card("a")))
    assert caught.value.where.endswith("question.name")


def test_readers_have_a_pass_of_their_own_after_those_that_they_read():
    members = [
        member("a", reads=("z",)), member("b"), describing("z"), member("c", reads=("a",)),
        member("d", reads=("z",)),
    ]  # fmt: skip
    expected = [["b", "z"], ["a", "d"], ["c"]]
    assert groups_of(*members) == groups_of(*reversed(members)) == expected


# Base models as members, and how members are asked


def test_a_base_model_is_a_member_beside_its_adapters():
    raw = member("raw", weights="base")
    assert raw.checkpoint == "base"
    assert groups_of(member("a"), raw) == [["a", "raw"]]
    assert groups_of(member("a"), raw, member("f", weights="full")) == [["a", "raw"], ["f"]]


def test_the_card_of_a_member_as_a_config_states_it():
    zero = {"recipe": None, "prompt": "detailed", "media": {"fps": 1}, "decoding": "generate",
            "max_new_tokens": 64, "model": "small"}  # fmt: skip
    members = {"v1": {"recipe": "lora", "prompt": "short"}, "zero": zero}
    config = run_config(members=members, models={"small": {"path": "small"}})
    assert card_of(config, "v1") == trained_with(config).card
    assert card_of(config, "zero") == card(
        "zero",
        weights="base",
        prompt="detailed",
        model=ModelConfig(path="small"),
        media=MediaConfig(fps=1),
        decoding="generate",
        max_new_tokens=64,
    )
    full = run_config(recipes={"lora": {"full": {}, "learning_rate": 1}})
    assert card_of(full, "v1").weights == "full"


@pytest.mark.parametrize(
    ("changes", "score", "weighs", "tokens"),
    [
        ({}, {}, True, 32),
        ({"decoding": "generate", "max_new_tokens": 8}, {}, False, 8),
        ({"max_new_tokens": 8}, {"decoding": "generate"}, False, 8),
        ({"decoding": "generate"}, {"decoding": "answer", "max_new_tokens": 9}, True, 9),
    ],
)
def test_what_score_says_of_decoding_wins_over_cards(changes, score, weighs, tokens):
    found = asked(member("a", **changes), ScoreConfig(**score)).card
    assert (found.weighs, found.max_new_tokens) == (weighs, tokens)


def test_an_answer_without_options_is_written_however_it_is_asked():
    assert not asked(describing("a"), ScoreConfig(decoding="answer")).card.weighs
