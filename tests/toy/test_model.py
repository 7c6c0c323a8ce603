"""The tiny checkpoint is an ordinary one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ah_ray.toy.model import write_tiny_checkpoint

    folder = tmp_path_factory.mktemp("tiny")
    state = torch.random.get_rng_state()
    write_tiny_checkpoint(folder)
    assert torch.equal(state, torch.random.get_rng_state())
    return folder


def test_prompts_round_trip_with_their_newlines(checkpoint: Path) -> None:
    processor = transformers.AutoProcessor.from_pretrained(checkpoint)
    conversation = [
        {"role": "system", "content": "One.\nTwo."},
        {
            "role": "user",
            "content": [
                {"type": "video", "video": "a.mp4"},
                {"type": "audio", "audio": "a.wav"},
                {"type": "text", "text": "Do the face and the tone disagree?"},
            ],
        },
    ]
    text = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|im_start|>system\nOne.\nTwo.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|video_pad|><|vision_end|><|audio_start|><|audio_pad|><|audio_end|>"
        "Do the face and the tone disagree?<|im_end|>\n<|im_start|>assistant\n"
    )
    tokenizer = processor.tokenizer
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    for token in ("<|im_start|>", "<|video_pad|>", "<|audio_pad|>", "<|im_end|>"):
        assert ids.count(tokenizer.convert_tokens_to_ids(token)) == text.count(token)
    assert len(tokenizer("<answer>Yes</answer>")["input_ids"]) <= 6
    assert tokenizer.decode(tokenizer("Größe\n\n ok")["input_ids"]) == "Größe\n\n ok"


def test_it_loads_and_answers(checkpoint: Path) -> None:
    processor = transformers.AutoProcessor.from_pretrained(checkpoint)
    model = transformers.Qwen3OmniMoeForConditionalGeneration.from_pretrained(checkpoint)
    assert sum(weight.numel() for weight in model.parameters()) < 700_000
    assert not hasattr(model, "talker")
    inputs = processor(
        text="<|vision_start|><|video_pad|><|vision_end|><|audio_start|><|audio_pad|><|audio_end|>",
        videos=[np.zeros((2, 3, 64, 96), np.uint8)],
        audio=[np.zeros(40_000, np.float32)],
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = model.thinker(**inputs).logits
    assert logits.shape == (1, inputs["input_ids"].shape[1], len(processor.tokenizer))
    assert torch.isfinite(logits).all()
    assert model.generation_config.eos_token_id == processor.tokenizer.convert_tokens_to_ids(
        "<|im_end|>"
    )


def test_equal_seeds_give_equal_weights(checkpoint: Path, tmp_path: Path) -> None:
    from ah_ray.toy.model import write_tiny_checkpoint

    write_tiny_checkpoint(tmp_path / "same", seed=0)
    write_tiny_checkpoint(tmp_path / "other", seed=1)
    weights = (checkpoint / "model.safetensors").read_bytes()
    assert (tmp_path / "same" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != weights
