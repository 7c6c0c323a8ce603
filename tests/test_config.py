import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.config import RunConfig, load_config
from ah_ray.errors import ConfigError
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.tasks import load_task
from ah_ray.tasks.judgement import Judgement
from ah_ray.training.recipe import FullConfig, GrpoConfig, LoraConfig, RecipeConfig
from ah_ray.words.ask import GroupsConfig
from ah_ray.words.judging import JudgeConfig
from ah_ray.yaml_objects import differences, load_yaml, with_overrides

ROOT = Path(__file__).parents[1]
# Who is asked about texts: no runs of all stages.
ABOUT_TEXTS = {
    ROOT / "jobs" / "groups.yaml": GroupsConfig,
    ROOT / "jobs" / "judge.yaml": JudgeConfig,
}
JOBS = sorted({*(ROOT / "jobs").glob("*.yaml")} - ABOUT_TEXTS.keys())
DEMO = ROOT / "jobs" / "demo.yaml"


@pytest.fixture(autouse=True)
def _from_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def edited(tmp_path):
    """The demo's config with some of its values changed, as a file."""

    def edit(*overrides: str) -> Path:
        path = tmp_path / "job.yaml"
        values = with_overrides(yaml.safe_load(DEMO.read_text()), overrides)
        path.write_text(yaml.safe_dump(values))
        return path

    return edit


def error_of(path, *overrides) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(path, "run", overrides)
    error = caught.value
    assert "fix: " in str(error)
    assert error.fix
    return error


@pytest.mark.parametrize("path", ABOUT_TEXTS, ids=lambda path: path.name)
def test_who_is_asked_about_texts_is_a_config(path):
    settings = load_yaml(path, ABOUT_TEXTS[path])
    question = load_task(settings.task).question(settings.prompt, "prompt")
    assert question.prompt.has("subtitle")


def test_there_are_the_papers_config_and_the_demos():
    assert {"paper.yaml", "demo.yaml"} <= {path.name for path in JOBS}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_every_shipped_config_loads(path):
    config = load_config(path, "run")
    assert config == RunConfig.model_validate(config.model_dump())
    for member, settings in config.members.items():
        assert settings.recipe is None or isinstance(config.recipe(member), RecipeConfig)
        assert config.question(member).prompt


def test_the_demo_differs_from_the_paper_in_values_only():
    paper, demo = (yaml.safe_load((ROOT / "jobs" / name).read_text()) for name in
                   ("paper.yaml", "demo.yaml"))  # fmt: skip
    assert set(paper) == set(demo)
    assert set(paper["members"]) == set(demo["members"])
    assert set(paper["recipes"]) == set(demo["recipes"])


def test_the_papers_recipes_are_those_of_its_table():
    config = load_config(ROOT / "jobs" / "paper.yaml", "run")
    lora, full, longer = (config.recipe(name) for name in ("v1", "v2", "v3"))
    assert (lora.tuner, lora.learning_rate, lora.epochs) == ("lora", 1e-5, 1)
    assert lora.lora == LoraConfig(rank=8, alpha=32, targets="all-linear", dropout=0)
    assert (full.tuner, full.learning_rate, full.epochs) == ("full", 1e-6, 2)
    assert (longer.tuner, longer.learning_rate, longer.epochs) == ("full", 1e-6, 3)
    for recipe in (lora, full, longer):
        assert (recipe.batch_size, recipe.global_batch_size, recipe.max_length) == (2, 64, 32768)
        assert recipe.accumulation(1) == 32  # the paper's one process
        assert recipe.accumulation(config.train.processes) == 2
    assert full.full == longer.full == FullConfig(language=True, vision=False, aligner=False)
    assert config.recipes["grpo"].grpo == GrpoConfig(generations=8, temperature=1)
    assert config.segmentation == SegmentationConfig(clip_s=5, min_tail_s=3)
    assert (config.model.dtype, config.model.attention) == ("bfloat16", "flash_attention_2")


@pytest.mark.parametrize(
    ("override", "key", "near"),
    [
        ("mebers={}", "mebers", "members"),
        ("score.bach_size=3", "score.bach_size", "batch_size"),
        ("media.max_frame=8", "media.max_frame", "max_frames"),
        ("recipes.lora.learningrate=1", "recipes.lora.learningrate", "learning_rate"),
        ("recipes.lora.lora.rnk=1", "recipes.lora.lora.rnk", "rank"),
        ("recipes.grpo.grpo.generation=9", "recipes.grpo.grpo.generation", "generations"),
        ("members.v1.promt=short", "members.v1.promt", "prompt"),
        ("catalog.entri=x", "catalog.entri", "entry"),
    ],
)
def test_an_unknown_key_names_the_file_the_key_and_the_nearest(edited, override, key, near):
    path = edited(override)
    error = error_of(path)
    assert str(path) in error.where
    assert key in error.where
    assert error.problem == "unknown key"
    assert error.fix == f"did you mean {near}?"


def test_a_key_like_no_other_names_all_there_are(edited):
    error = error_of(edited("reduce.zzz=1"))
    assert error.fix == "one of invalid, missing, parse, tie"


def test_a_missing_key_is_named(edited, tmp_path):
    values = yaml.safe_load(DEMO.read_text())
    del values["catalog"]["root"]
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(values))
    error = error_of(path)
    assert "catalog.root" in error.where
    assert error.fix == "add catalog.root"


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("segmentation.clip_s=long", "segmentation.clip_s"),
        ("segmentation.clip_s=-1", "segmentation.clip_s"),
        ("score.min_actors=0", "score.min_actors"),
        ("score.min_actors=1.5", "score.min_actors"),
        ("media.max_frames=3", "media.max_frames"),
        ("model.dtype=float16", "model.dtype"),
        ("reduce.tie=coin", "reduce.tie"),
        ("members={}", "members"),
        ("members={b/ad: {recipe: lora, prompt: short}}", "members"),
        ("score=3", "score"),
        ("train.splits=train", "train.splits"),
        ("media={min_frames: 8, max_frames: 4}", "media"),
        ("recipes.lora.lora.targets='(q'", "recipes.lora.lora.targets"),
        ("recipes.lora.full={}", "recipes.lora"),
        ("recipes.lora.lora=null", "recipes.lora"),
        ("segmentation={clip_s: 1, min_tail_s: 2}", "segmentation"),
        ("media={min_pixels: 5000, max_pixels: 4000}", "media"),
        ("media={square: 450}", "media"),
        ("media.images=0", "media.images"),
        ("media.pick=best", "media.pick"),
    ],
)
def test_a_wrong_value_names_its_key(edited, override, key):
    for error in (error_of(edited(override)), error_of(DEMO, override)):
        assert re.search(rf"\b{re.escape(key)}\b", error.where)


def test_several_problems_are_told_at_once(edited):
    error = error_of(edited("score.min_actors=0", "media.fps=no", "tsk=x"))
    assert all(key in str(error) for key in ("score.min_actors", "media.fps", "tsk"))


def test_a_missing_file(tmp_path):
    error = error_of(tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in error.where


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "a: [1", "a: b: c", "\t"])
def test_a_file_that_is_no_mapping(tmp_path, text):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    assert str(path) in error_of(path).where


def test_a_folder_or_other_bytes_instead_of_a_file(tmp_path):
    error_of(tmp_path)
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    error_of(path)


def test_yaml_cannot_run_code(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("task: !!python/object/apply:os.getcwd []\n")
    error_of(path)


def test_run_stands_for_the_run_directory():
    config = load_config(DEMO, "s3://bucket/run/")
    assert config.catalog.root == "s3://bucket/run/archive"
    assert config.model.path == "s3://bucket/run/base"


def test_an_override_wins_and_is_read_as_yaml():
    overrides = ["score.batch_size=8", "train.splits=[train, val]", "recipes.lora.deepspeed=null"]
    config = load_config(DEMO, "run", [*overrides, "catalog.root='{run}/x'", "score.batch_size=9"])
    assert config.score.batch_size == 9
    assert config.train.splits == ("train", "val")
    assert config.recipes["lora"].deepspeed is None
    assert config.catalog.root == "run/x"


@pytest.mark.parametrize(
    "override", ["score.batch_size", "=3", "", "score batch=3", "task.x=1", "score.batch_size.x=1"]
)
def test_a_bad_override(override):
    assert "--set" in error_of(DEMO, override).where


def test_an_override_that_is_no_yaml():
    assert "--set" in error_of(DEMO, "score.batch_size=[1").where
    assert "--set" in error_of(DEMO, "catalog.root={run}/x").where


def test_overriding_leaves_the_given_values_alone():
    values = {"a": {"b": 1}}
    assert with_overrides(values, ["a.b=2", "c.d=3"]) == {"a": {"b": 2}, "c": {"d": 3}}
    assert values == {"a": {"b": 1}}


def test_an_override_of_a_recipe_is_of_that_member_only():
    config = load_config(DEMO, "run", ["members.v3.overrides={epochs: 7, seed: 1}"])
    assert (config.recipe("v3").epochs, config.recipe("v3").seed) == (7, 1)
    assert (config.recipe("v2").epochs, config.recipe("v2").seed) == (2, 42)


def test_an_override_of_a_part_of_a_recipe_keeps_the_rest_of_it():
    sets = ["recipes.lora.lora={rank: 4, alpha: 9}", "recipes.lora.extra_args={a: 1}"]
    override = "members.v1.overrides={lora: {rank: 16}, grpo: {generations: 4}, extra_args: {b: 2}}"
    recipe = load_config(DEMO, "run", [*sets, override]).recipe("v1")
    assert recipe.lora == LoraConfig(rank=16, alpha=9)
    assert recipe.grpo == GrpoConfig(generations=4)
    assert recipe.extra_args == {"b": 2}
    plain = load_config(DEMO, "run", ["members.v1={recipe: grpo, prompt: short, overrides: "
                                      "{grpo: null}}"]).recipe("v1")  # fmt: skip
    assert (plain.algorithm, plain.tuner) == ("sft", "lora")


def test_an_override_that_names_the_other_tuner_replaces_it():
    other = load_config(DEMO, "run", ["members.v1.overrides={full: {vision: true}}"]).recipe("v1")
    assert (other.lora, other.full, other.tuner) == (None, FullConfig(vision=True), "full")
    other = load_config(DEMO, "run", ["members.v3.overrides={lora: {rank: 4}}"]).recipe("v3")
    assert (other.lora, other.full, other.weights) == (LoraConfig(rank=4), None, "adapter")


@pytest.mark.parametrize("where", ["members.v1.overrides", "recipes.new"])
def test_lora_and_full_in_one_place_are_refused(where):
    error = error_of(DEMO, f"{where}={{lora: {{}}, full: {{}}, learning_rate: 1}}")
    assert where in error.where
    assert "has both lora and full" in error.problem


@pytest.mark.parametrize(
    ("overrides", "key"),
    [("{epoch: 3}", "epoch"), ("{epochs: many}", "epochs"), ("3", "overrides"),
     ("{lora: {rnk: 3}}", "lora.rnk"), ("{lora: 3}", "lora")],
)  # fmt: skip
def test_a_wrong_override_of_a_recipe(overrides, key):
    error = error_of(DEMO, f"members.v3.overrides={overrides}")
    assert "members.v3.overrides" in error.where
    assert key in error.where
    if key == "epoch":
        assert error.fix == "did you mean epochs?"


@pytest.mark.parametrize(
    ("override", "where", "known"),
    [
        ("members.v1.recipe=qlora", "members.v1.recipe", "lora"),
        ("members.v1.prompt=long", "members.v1.prompt", "detailed"),
        ("task=cue", "task", "cue_conflict"),
    ],
)
def test_a_name_that_nothing_has_names_those_there_are(override, where, known):
    error = error_of(DEMO, override)
    assert where in error.where
    assert known in error.fix


def test_a_catalog_entry_that_does_not_exist():
    error = error_of(DEMO, "catalog.entry=data_catalog/none.yaml")
    assert "catalog.entry" in error.where
    assert "data_catalog/none.yaml" in error.problem


def test_files_are_found_beside_the_config_then_here_then_in_the_package(
    edited, monkeypatch, tmp_path
):
    entry = (ROOT / "data_catalog" / "folder.yaml").read_text()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    path = edited("catalog.entry=data_catalog/folder.yaml", "task=task.yaml")
    task = load_task("cue_conflict")
    found = []
    (here / "task.yaml").write_text(task.model_dump_json())
    for folder in (None, here, tmp_path):
        if folder is not None:
            (folder / "data_catalog").mkdir()
            (folder / "data_catalog" / "folder.yaml").write_text(entry)
        found.append(Path(load_config(path, "run").catalog.entry).absolute())
    ends = (ROOT, here, tmp_path)
    assert found == [folder / "data_catalog" / "folder.yaml" for folder in ends]
    assert load_config(path, "run").task == "task.yaml"
    (tmp_path / "task.yaml").write_text(task.model_dump_json())
    assert load_config(path, "run").task == str(tmp_path / "task.yaml")


def test_some_members_of_a_config():
    config = load_config(DEMO, "run", members=["v3", "v1", "v1"])
    assert list(config.members) == ["v1", "v3"]


def test_differences_are_told_key_by_key():
    known = {"a": {"b": 1, "c": 2}, "d": 3}
    assert differences(known, known, "x") == []
    now = {"a": {"b": 1, "c": 5}, "e": 4}
    assert differences(known, now, "x") == [
        ("x.a.c", 2, 5), ("x.d", 3, None), ("x.e", None, 4)]  # fmt: skip


RECIPE = {"lora": {}, "learning_rate": 1}


@pytest.mark.parametrize(
    ("recipe", "processes", "problem", "fix"),
    [
        (
            {"batch_size": 2, "global_batch_size": 64}, 3,
            "is 64, which is no multiple of 6", "set global_batch_size to 60 or 66",
        ),
        (
            {"batch_size": 4, "global_batch_size": 64}, 32,
            "no multiple of 128: batch_size 4 x 32 processes",
            "set global_batch_size to 128, or batch_size to 2",
        ),
        (
            {"batch_size": 3, "global_batch_size": 12, "grpo": {"generations": 8}}, 2,
            "no multiple of 24: batch_size 3 x 2 processes",
            "set global_batch_size to 24",
        ),
    ],
)  # fmt: skip
def test_steps_that_the_processes_cannot_make_name_the_nearest(recipe, processes, problem, fix):
    with pytest.raises(ConfigError) as caught:
        RecipeConfig(**RECIPE | recipe).accumulation(processes, "recipes.lora")
    assert caught.value.where == "recipes.lora: global_batch_size"
    assert problem in caught.value.problem
    assert caught.value.fix == fix


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 99), st.integers(2, 5), st.booleans())
def test_what_an_impossible_step_suggests_is_possible(batch, processes, size, group, rewarded):
    values = RECIPE | {"batch_size": batch, "global_batch_size": size}
    recipe = RecipeConfig(**values | {"grpo": {"generations": group} if rewarded else None})
    try:
        assert recipe.accumulation(processes) * processes * batch == size
    except ConfigError as error:
        for key, value in re.findall(r"(global_batch_size|batch_size) to (\d+)", error.fix):
            recipe.model_copy(update={key: int(value)}).accumulation(processes)


def test_a_config_whose_processes_cannot_make_a_step_is_refused(edited):
    error = error_of(edited("train.nodes=2"))
    assert error.where == "recipes.lora (member v1): global_batch_size"
    assert "train.nodes" in error.problem
    assert error.fix == "set global_batch_size to 8, or batch_size to 2"


def test_adapters_on_experts_have_no_dropout(edited):
    error = error_of(edited("recipes.lora.lora.targets=all-linear"))
    assert "dropout must be 0, not 0.05" in error.problem
    load_config(edited("recipes.lora.lora={targets: all-linear, dropout: 0}"), "run")


@pytest.mark.parametrize(
    "override",
    ["score.batch_size=true", "recipes.lora.save_every_steps=true", "media.fps=false",
     "recipes.lora.early_stop_after=true", "recipes.lora.seed=true", "segmentation.clip_s=.inf",
     "recipes.lora.learning_rate=.nan"],
)  # fmt: skip
def test_what_is_no_number_is_refused_for_one(edited, override):
    error = error_of(edited(override))
    assert override.partition("=")[0].rpartition(".")[2] in error.where
    load_config(edited("recipes.lora.gradient_checkpointing=true"), "run")
    load_config(edited("recipes.lora.extra_args={use_dora: true}"), "run")


@pytest.mark.parametrize("name", ["ensemble", "prior", "subtitle"])
def test_members_do_not_take_the_names_of_reports_and_prompts(edited, name):
    error = error_of(edited(f"members.{name}={{recipe: lora, prompt: short}}"))
    assert f"cannot be called {name}" in error.problem


# What members are asked, and how they are judged


def test_members_may_have_models_media_and_questions_of_their_own():
    config = load_config(DEMO, "run", [
        "models.small={path: '{run}/small', dtype: float32}",
        "members.other={prompt: detailed, task: ambivalence_hesitancy, model: small, "
        "media: {max_frames: 2}, decoding: generate, max_new_tokens: 9}",
        "media.images=3",  # of the members that see images
        "members.images={prompt: short, media: {picture: images}}",
    ])  # fmt: skip
    assert config.model_of("other").path == "run/small"
    assert config.model_of("v1") == config.model
    assert config.media_of("v1") == config.media
    assert config.media_of("other") == config.media.model_copy(update={"max_frames": 2})
    assert config.media_of("images").kinds == ("image", "image", "image", "audio")
    assert config.question("other").name == "ambivalence_hesitancy"
    assert config.question("v1") == load_task("cue_conflict").question("short", "k")


@pytest.mark.parametrize(
    ("override", "where", "problem"),
    [
        ("members.v1.model=small", "members.v1.model", "there is no model 'small'"),
        ("members.v1.media={fbs: 2}", "members.v1.media", "unknown key"),
        ("members.v1.media={max_frames: 3}", "members.v1.media", "max_frames"),
        ("members.v1.task=none", "task", "no task 'none'"),
        ("members.v1={prompt: short, reads: [v9]}", "members.v1.reads", "there is no member v9"),
        ("members.v1={prompt: short, reads: [v2]}", "members.v1.prompt", "has no {v2}"),
        ("members.v1={prompt: short, overrides: {epochs: 2}}", "members.v1.recipe",
         "v1 is the base model as it is"),
        ("members.v1={recipe: lora, prompt: short, reads: [v2]}", "members.v1.recipe",
         "is not trained"),
        ("members.v1={recipe: lora, prompt: short, task: ambivalence_hesitancy}", None, None),
        ("members.v1={recipe: lora, prompt: short, task: cues}", "members.v1.task",
         "cues has another answer than cue_conflict, whose labels there are"),
        ("members.v1={recipe: lora, prompt: describe, task: emotion_labels}", "members.v1.task",
         "emotion_labels has another answer than cue_conflict"),
        ("members.v1={prompt: describe, task: emotion_labels}", None, None),
        ("recipes.lora.best_by=uar", "recipes.lora.best_by (member v1)", "no metric 'uar'"),
        ("reduce.tie=positive", "reduce.tie", "which is no answer to task cue_conflict"),
        ("reduce.invalid='no'", "reduce.invalid", "which is no answer to task cue_conflict"),
        ("reduce.missing=No", "reduce.missing", 'write "Yes" or "No"'),
    ],
)  # fmt: skip
def test_what_members_cannot_be_is_told_before_anything_starts(override, where, problem):
    if where is None:
        load_config(DEMO, "run", [override])
        return
    error = error_of(DEMO, override)
    assert where in error.where
    assert problem in str(error)


def test_a_run_is_judged_as_its_task_says_with_the_policies_of_its_config(tmp_path):
    judgement = load_config(DEMO, "run", ["reduce.missing='No'"]).judgement()
    assert (judgement.rules.clips, judgement.rules.members) == ("first", "most")
    assert judgement.metrics == ("binary",)
    assert judgement.policies.missing == "No"
    task = load_task("cue_conflict").model_dump(mode="json")
    for changes, problem in (
        ({"metrics": ["f2"]}, "there is no 'f2'"),
        ({"metrics": ["binary"], "answer": {"kind": "labels"}, "rules": None}, "2 options"),
        ({"answer": {"kind": "labels"}, "metrics": []}, "first needs options"),
    ):
        path = tmp_path / "task.yaml"
        path.write_text(yaml.safe_dump(task | changes))
        assert problem in error_of(DEMO, f"task={path}").problem


def test_a_config_is_frozen():
    config = load_config(DEMO, "run")
    for section in (config, config.score, config.recipes["lora"]):
        with pytest.raises(ValueError, match="frozen"):
            section.task = "x"


def test_load_yaml_reads_any_model(tmp_path):
    path = tmp_path / "media.yaml"
    path.write_text("fps: 3\n")
    assert load_yaml(path, MediaConfig) == MediaConfig(fps=3)


SECTIONS = [
    "ah_ray.catalog.config",
    "ah_ray.engines.config",
    "ah_ray.media.config",
    "ah_ray.models.config",
    "ah_ray.tasks.rules",
    "ah_ray.training.config",
    "ah_ray.training.recipe",
]


def loaded_by(*modules: str) -> set[str]:
    """What a process that imports these modules alone has loaded."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_sections_stand_without_the_run_config_and_nothing_heavy():
    assert not loaded_by(*SECTIONS) & {"ah_ray.config", "ah_ray.members", "av", "ray", "torch"}


def test_the_run_config_loads_nothing_heavy():
    assert not loaded_by("ah_ray.config") & {"ah_ray.members", "av", "ray", "torch"}


@pytest.mark.parametrize(
    ("answer", "votes"),
    [("{kind: text}", False), ("{kind: choice, options: [a, b], reply: '{answer}'}", True)],
)
def test_who_is_trained_answers_what_there_are_labels_for(tmp_path, answer, votes):
    task = tmp_path / "other.yaml"
    task.write_text(f"{{name: other, answer: {answer}, prompts: {{p: {{system: s, user: u}}}}}}")
    judge = tmp_path / "judge.yaml"
    told = load_task("cue_conflict").model_dump(mode="json")
    judge.write_text(yaml.safe_dump(told | {"prompts": {"p": {"system": "s", "user": "{v1}?"}}}))
    settings = f"members.v1={{recipe: lora, prompt: p, task: {task}}}"
    with pytest.raises(ConfigError, match=r"members\.v1\.task: .*another answer than cue_conflict"):
        load_config("jobs/demo.yaml", str(tmp_path / "run"), [settings])
    as_it_is = f"members.v1={{prompt: p, task: {task}}}"
    reader = f"members.judge={{prompt: p, task: {judge}, reads: [v1]}}"
    load_config("jobs/demo.yaml", str(tmp_path / "run"), [as_it_is, reader])
    if votes:  # as nobody reads it
        with pytest.raises(ConfigError, match="on which it would vote"):
            load_config("jobs/demo.yaml", str(tmp_path / "run"), [as_it_is])
    else:
        load_config("jobs/demo.yaml", str(tmp_path / "run"), [as_it_is])


def test_rules_name_members_that_vote_and_files_beside_the_task(tmp_path):
    (tmp_path / "groups.json").write_text('[["glad", "happy"]]')
    task, asked = tmp_path / "words.yaml", {"p": {"system": "s", "user": "u"}}
    members = "members={a: {prompt: p}, b: {prompt: p}, d: {prompt: q}, r: {prompt: r, reads: [d]}}"
    settings = [f"task={task}", "score.prior=null", members]

    def load(weights: dict[str, float], only: list[str] | None = None) -> Judgement:
        weighted = {"weighted": {"weights": weights, "at_least": 2}}
        told = {"name": "t", "answer": {"kind": "labels"}, "prompts": asked | {
            "q": asked["p"] | {"answer": {"kind": "text"}}, "r": {"system": "s", "user": "{d}"},
        }, "rules": {
            "clips": {"grouped": {"rule": "most", "by": "groups.json"}},
            "members": {"grouped": {"rule": weighted, "by": "groups.json"}},
        }}  # fmt: skip
        task.write_text(yaml.safe_dump(told))
        return load_config(DEMO, "run", settings, only).judgement()

    clips = load({"a": 2, "r": 1}).rules.clips
    assert clips == {"grouped": {"rule": "most", "by": str(tmp_path / "groups.json")}}
    load({"a": 2, "r": 1}, ["b"])  # who is left out does not count
    for name in ("d", "x"):  # writes text, is nobody
        with pytest.raises(ConfigError, match=f"no member {name} votes") as caught:
            load({"a": 2, name: 1})
        assert caught.value.where.endswith("rules.members")
        assert caught.value.fix == "some of a, b, r"
    (tmp_path / "groups.json").unlink()
    with pytest.raises(ConfigError, match=r"groups\.json cannot be read"):
        load({"a": 2})


def test_somebody_votes():
    words = ["task=emotion_labels", "score.prior=null"]
    with pytest.raises(ConfigError, match="nobody votes") as caught:
        load_config(DEMO, "run", [*words, "members={d: {prompt: describe}}"])
    assert caught.value.where.endswith("demo.yaml: members")
    judged = "members={describer: {prompt: describe}, n: {prompt: name, reads: [describer]}}"
    assert load_config(DEMO, "run", [*words, judged]).voters() == ["n"]
    load_config(DEMO, "run", [*words, judged], ["describer"])  # to score it alone
    names = ["visual", "tuned", "trimodal"]
    looking = ", ".join(f"{name}: {{prompt: short}}" for name in names)
    judge = f"members={{{looking}, judge: {{prompt: judge, reads: [{', '.join(names)}]}}}}"
    assert load_config(DEMO, "run", [*words, judge]).voters() == ["judge"]
    assert load_config(DEMO, "run", [*words, judge], names).voters() == names


def test_a_wording_with_another_answer_is_for_members_that_do_not_vote():
    words = ["task=emotion_labels", "score.prior=null"]
    members = "members={d: {prompt: describe}, v: {prompt: short}}"
    assert load_config(DEMO, "run", [*words, members]).question("d").answer.kind == "text"
    trained = "members={d: {recipe: lora, prompt: describe}, v: {prompt: short}}"
    with pytest.raises(ConfigError, match="describe has another answer") as caught:
        load_config(DEMO, "run", [*words, trained])
    assert caught.value.where == "members.d.prompt"


@pytest.mark.parametrize(
    ("run", "beside"), [("runs/a", "runs"), ("s3://b/runs/a", "s3://b/runs"), ("/a/b", "/a")]
)
def test_what_lies_beside_a_run_is_named_as_it_is(run, beside):
    config = load_config("jobs/demo.yaml", run, ['model.path="{run}/../models/x"'])
    assert config.model.path == f"{beside}/models/x"
    assert load_config("jobs/demo.yaml", run).model.path == f"{run}/base"


def test_a_model_with_two_experts_is_one_more_member_of_the_papers_ensemble():
    last = "{name: gate, trains: [gate, language], lora: {}}"
    config = load_config(
        "jobs/paper.yaml",
        "run",
        [
            "models={sees: {path: models/hybrid, architecture: qwen2_5_vl_hybrid}}",
            f"recipes.staged={{stages: [{{name: emotion, trains: [emotion]}}, {last}], "
            "learning_rate: 1.0e-5}",
            "members.v4={recipe: staged, prompt: short, model: sees, "
            "media: {audio: none, size_multiple: 28, min_pixels: 100352, max_pixels: 200704}}",
        ],
    )
    assert config.voters()[-1] == "v4"
    assert config.question("v4") == config.question("v1")
    assert [stage.name for stage in config.recipe("v4").stages] == ["emotion", "gate"]
