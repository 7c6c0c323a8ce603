from pathlib import Path

import pytest

from ah_ray.engines.wording import wording
from ah_ray.media.config import MediaConfig
from ah_ray.tasks import load_task
from ah_ray.tasks.answers import Reading
from ah_ray.toy.model import write_tiny_checkpoint
from ah_ray.training.same_tokens import require_same_tokens
from tests.engines.tiny_models import architecture_at, member

TASK = load_task("cue_conflict")


def reply_of(label: str) -> str:
    return TASK.answer.write(Reading(frozenset({label})))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_checkpoint(path)
    return path


@pytest.mark.parametrize("media", [MediaConfig(), MediaConfig(audio="none")])
def test_the_same_words_pass_and_the_first_other_token_is_shown(folder: Path, media: MediaConfig):
    processor = architecture_at(folder).load_processor(str(folder))
    asked = member(folder, folder.name, media=media)
    tokenizer = processor.tokenizer
    words = wording(processor, asked)
    row = {"messages": [{"role": "user"}, {"role": "assistant", "content": reply_of("Yes")}]}

    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    video = tokenizer.convert_tokens_to_ids(processor.video_token)
    at = words.ids.index(video)
    expanded = [*words.ids[:at], *[video] * 40, *words.ids[at + 1 :]]
    end = tokens(reply_of("Yes") + tokenizer.eos_token)
    for right in ([*expanded, *end], [*expanded, *end, *tokens("\n")]):
        require_same_tokens(right, row, processor, asked)
    question = {"messages": row["messages"][:1]}  # with grpo the model finds the reply
    require_same_tokens(expanded, question, processor, asked)

    other = tokens(reply_of("No") + tokenizer.eos_token)
    for wrong, shown in (
        ([*expanded, *other], "in MS-Swift and"),
        ([*expanded, *end[:-1]], "is nothing in MS-Swift and '<|im_end|>'"),
        ([*expanded, *end, *tokens("\nYes")], "and nothing in scoring"),
        (expanded[5:], "token 0 of row 0 is"),  # cut off, for max_length is too small
    ):
        with pytest.raises(ValueError, match="would ask in different words") as caught:
            require_same_tokens(wrong, row, processor, asked)
        assert shown in str(caught.value)
