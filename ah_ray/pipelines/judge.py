"""Judge: a text model scores the explanations of a run beside those of the archive.

    verdicts and answers of a run -> each explanation with its reference -> score -> judged.json

The same answers give the same file to the byte: a figure by these scores can be repeated.
"""

from __future__ import annotations

import json
from collections import defaultdict

import pyarrow.compute as pc

from ah_ray import schemas, storage
from ah_ray.ensemble import read_ensemble
from ah_ray.errors import ConfigError
from ah_ray.evaluation.explanations import NAME, Explanations
from ah_ray.members import member_fingerprint
from ah_ray.pipelines.asking_texts import Asked, ask_about, question_about_texts, text_card
from ah_ray.pipelines.reduce import current_answers, noted_judgement
from ah_ray.pipelines.run_directory import SCORING, RunDirectory
from ah_ray.pipelines.written import written
from ah_ray.progress import console
from ah_ray.words.judging import JudgeConfig, JudgedFile, pair, scale_of, stated_reference, told
from ah_ray.yaml_objects import build

JUDGED_FILE = "judged.json"
_JUDGE = "judge"


def judge(run: RunDirectory, of: RunDirectory, settings: JudgeConfig) -> None:
    """Ask about the explanations of the labelled videos of a run, and write ``judged.json``.

    Args:
        run: a run of its own, which keeps what was asked and answered.
        of: the run whose members explain; its task says what they are compared with.
        settings: who is asked.

    Raises:
        ConfigError: there is no explanation with a reference, or the model cannot be asked.
    """
    question = question_about_texts(settings.task, settings.prompt)
    scale = scale_of(question.answer.options, f"task: {settings.task}")
    longest = settings.max_new_tokens
    card = text_card(
        _JUDGE, settings.model, question, decoding=settings.decoding, max_new_tokens=longest
    )
    pairs = _pairs(of)
    asked = [
        Asked(schemas.stable_id(video, key), video, key, text)
        for video, of_video in pairs.items()
        for key, text in of_video.items()
    ]
    storage.remove(run.path(JUDGED_FILE))
    console.print(
        f"[bold]judge[/]: {len(asked)} explanations of {len(pairs)} videos, by {card.model.path}"
    )
    member, answers = ask_about(run, card, asked, settings.score)
    given = {row["clip_id"]: row["labels"] for row in answers if row["status"] == "ok"}
    scores: dict[str, dict[str, float | None]] = defaultdict(dict)
    for one in asked:
        labels = given.get(one.clip_id)
        scores[one.video_id][one.content] = None if labels is None else float(labels[0])
    file = JudgedFile(
        judge=card.model.path,
        made_from=member_fingerprint(member),
        task=settings.task,
        prompt=settings.prompt,
        rubric=f"{question.prompt.system}\n\n{question.prompt.user}",
        scale=scale,
        scores=scores,
    )
    content = json.dumps(file.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)
    storage.write_bytes(run.path(JUDGED_FILE), f"{content}\n".encode())
    console.print(
        f"  {run.path(JUDGED_FILE)}: {len(given)} scores; {len(asked) - len(given)} replies could "
        "not be read and count nowhere",
        markup=False,
    )


def _pairs(of: RunDirectory) -> dict[str, dict[str, str]]:
    """By labelled video, each of its explanations with the reference, as the judge reads them."""
    judgement = noted_judgement(of)
    where = f"{of.path('run.yaml')}: judgement"
    stated = [one for one in judgement.metrics if isinstance(one, dict)] if judgement else []
    arguments = [argument for one in stated for name, argument in one.items() if name == NAME]
    if not arguments:
        problem = f"names no metric {NAME}, which says what explanations are compared with"
        raise ConfigError(where, problem, f"add it to the task, then `ah-ray reduce` {of.uri}")
    references = build(Explanations, arguments[0], f"{where}: {NAME}").reference
    noted = of.settings()
    members = read_ensemble(of.outside(noted["ensemble"]), noted["voters"])
    clips, videos = of.clips(SCORING), of.videos()
    told_of = written(of.verdicts(), clips, current_answers(of, members, clips))
    pairs: dict[str, dict[str, str]] = defaultdict(dict)
    for video in videos.filter(pc.is_valid(videos["labels"])).sort_by("video_id").to_pylist():
        reference = stated_reference(dict(video["attributes"] or ()), references)
        for name in sorted(told_of) if reference else ():
            one = told_of[name].get(video["video_id"])
            if one is not None and one.explanation:
                key = pair(reference, one.explanation)
                pairs[video["video_id"]][key] = told(reference, one.explanation)
    if not pairs:
        problem = f"no labelled video with an explanation has {' or '.join(references)}"
        raise ConfigError(of.uri, problem, "keep it as an attribute in the catalog entry")
    return dict(pairs)
