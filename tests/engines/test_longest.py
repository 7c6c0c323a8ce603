"""Room for the longest conversation, beside what processors make of clips."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ah_ray.engines.longest import longest_media, tokens_of
from ah_ray.engines.wording import wording
from ah_ray.media.config import MediaConfig, SegmentationConfig
from ah_ray.media.frames import MOST_ELONGATED, audio_samples, fit_size, frame_count
from ah_ray.media.segment import Span, split
from tests.engines.tiny_models import architecture_at, media_of, member

SIDES = st.integers(1, 9000)


@st.composite
def media_settings(draw):
    unit = draw(st.sampled_from([28, 32]))
    least, most = sorted(draw(st.tuples(st.integers(1, 400), st.integers(1, 800))))
    frames = sorted(2 * draw(st.integers(1, 12)) for _ in range(2))
    return MediaConfig(
        fps=draw(st.floats(0.1, 8)), min_frames=frames[0], max_frames=frames[1],
        min_pixels=least * unit**2, max_pixels=most * unit**2, size_multiple=unit,
        square=draw(st.none() | st.integers(1, 40).map(lambda side: side * unit)),
        picture=draw(st.sampled_from(["video", "images"])), images=draw(st.integers(1, 20)),
    )  # fmt: skip


@given(media_settings(), SIDES, SIDES)
def test_no_picture_is_larger(media, width, height) -> None:
    short, long = sorted((width, height))
    long = min(long, MOST_ELONGATED * short)
    fitted = fit_size(long, short, media)
    longest = longest_media(media, SegmentationConfig())
    assert fitted[0] * fitted[1] <= longest.side**2
    assert longest.side % media.size_multiple == 0


@given(
    media_settings(),
    st.builds(
        SegmentationConfig,
        clip_s=st.floats(3.0, 30),
        overlap_s=st.floats(0, 2.5),
        tail=st.sampled_from(["drop", "keep", "overlap"]),
    ),
    st.floats(0.1, 100),
)
def test_no_clip_is_longer(media, segmentation, seconds) -> None:
    longest = longest_media(media, segmentation)
    for span in split(Span(0.0, seconds), segmentation):
        assert frame_count(span.duration_s, media) <= longest.frames
        assert audio_samples(span.duration_s) <= longest.samples


def test_the_paper_takes_two_thousand_tokens_not_sixty() -> None:
    media = MediaConfig(
        fps=2, min_frames=4, max_frames=16, min_pixels=131072, max_pixels=262144, audio="separate"
    )
    longest = longest_media(media, SegmentationConfig(clip_s=5))
    assert longest.frames == 10
    assert longest.frames / 2 * (longest.side / 32) ** 2 < 2000
    of_448 = MediaConfig(picture="images", images=6, square=448, size_multiple=28, audio="none")
    assert longest_media(of_448, SegmentationConfig()) == (6, 448, 0)
    unheard = longest_media(media.model_copy(update={"audio": "none"}), SegmentationConfig())
    assert unheard.samples == 0


@pytest.mark.parametrize("model", ["omni", "vision_only"])
@settings(max_examples=10)
@given(width=st.integers(20, 400), height=st.integers(20, 400), seconds=st.floats(0.2, 4))
def test_no_conversation_has_more_tokens(
    model: str, width: int, height: int, seconds: float, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(model)
    unit = {"omni": 32, "vision_only": 28}[model]
    sizes = {"min_pixels": 2 * unit**2, "max_pixels": 8 * unit**2}
    media = media_of(folder).model_copy(update=sizes)
    segmentation = SegmentationConfig(clip_s=4)
    architecture = architecture_at(folder)
    processor = architecture.load_processor(str(folder))
    words = wording(processor, member(folder, model, media=media))
    longest = longest_media(media, segmentation)
    columns, rows = fit_size(width, height, media)
    clip = longest._replace(
        frames=frame_count(seconds, media), samples=audio_samples(seconds)
    ).clip()
    clip = type(clip)(clip.frames[:, :1, :1].repeat(rows, 1).repeat(columns, 2), 2.0, clip.audio)
    inputs = architecture.encode(processor, words.text, words.kinds, [clip])
    tokens = inputs["input_ids"].shape[1]
    most = tokens_of(architecture, processor, words, longest)
    assert len(words.ids) < tokens <= most
