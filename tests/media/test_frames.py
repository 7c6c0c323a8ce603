import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ah_ray.errors import ItemError
from ah_ray.media.config import MediaConfig
from ah_ray.media.frames import (
    AUDIO_HOP,
    AUDIO_HZ,
    MIN_AUDIO_SAMPLES,
    audio_samples,
    bucket,
    fit_size,
    frame_count,
    frame_times,
)
from ah_ray.media.segment import Span

PAPER = MediaConfig(fps=2, max_frames=16, min_pixels=131_072, max_pixels=262_144)
DEMO = MediaConfig(fps=1, min_frames=2, max_frames=4, min_pixels=1024, max_pixels=8192)
SIDES = st.integers(1, 5000)


@st.composite
def medias(draw):
    fewest = 2 * draw(st.integers(1, 10))
    return MediaConfig(
        fps=draw(st.floats(0.1, 30)),
        min_frames=fewest,
        max_frames=fewest + 2 * draw(st.integers(0, 200)),
    )


@st.composite
def budgets(draw):
    """Budgets that leave room: one clip of any shape fits between the bounds."""
    unit = draw(st.sampled_from([16, 28, 32]))
    least = draw(st.integers(4, 200)) * unit**2
    most = least * draw(st.integers(4, 20))
    return MediaConfig(min_pixels=least, max_pixels=most, size_multiple=unit)


@st.composite
def shapes(draw):
    """Sizes of real pictures: one side at most eight times the other."""
    width, height = draw(SIDES), draw(SIDES)
    assume(max(width, height) <= 8 * min(width, height))
    return width, height


@given(st.floats(0.01, 600), medias())
def test_the_number_of_frames_is_even_and_within_bounds(duration, media):
    count = frame_count(duration, media)
    assert count % 2 == 0
    assert media.min_frames <= count <= media.max_frames
    if media.min_frames < count < media.max_frames:
        assert abs(count - duration * media.fps) <= 1 + 1e-9


@pytest.mark.parametrize(("seconds", "frames"), [(5.0, 10), (3.0, 6), (0.5, 4), (4.3, 8), (60, 16)])
def test_frames_of_the_papers_clips(seconds, frames):
    assert frame_count(seconds, PAPER) == frames


@given(st.floats(0, 5000), st.floats(0.05, 60), medias())
def test_frames_are_taken_in_the_middles_of_equal_parts(start, length, media):
    span = Span(start, start + length)
    times = frame_times(span, media)
    step = span.duration_s / len(times)
    assert len(times) == frame_count(span.duration_s, media)
    assert times == pytest.approx([start + (i + 0.5) * step for i in range(len(times))])
    assert span.start_s < times[0]
    assert times[-1] < span.end_s
    assert times == sorted(set(times))


@given(shapes(), budgets())
def test_the_size_is_what_qwens_own_rule_gives(shape, media):
    from qwen_omni_utils.v2_5.vision_process import smart_resize

    width, height = shape
    theirs = smart_resize(
        height, width, media.size_multiple, media.min_pixels, media.max_pixels
    )  # rows first
    assert fit_size(width, height, media) == theirs[::-1]


@given(shapes(), budgets())
def test_the_size_is_a_multiple_within_the_budget(shape, media):
    width, height = fit_size(*shape, media)
    assert width % media.size_multiple == height % media.size_multiple == 0
    assert media.min_pixels <= width * height <= media.max_pixels


@given(shapes(), budgets())
def test_fitting_a_fitted_size_changes_nothing(shape, media):
    fitted = fit_size(*shape, media)
    assert fit_size(*fitted, media) == fitted


@pytest.mark.parametrize(
    ("shape", "fitted"),
    [((640, 480), (576, 416)), ((480, 640), (416, 576)), ((1280, 720), (672, 384))],
)
def test_sizes_of_webcams_with_the_papers_budget(shape, fitted):
    assert fit_size(*shape, PAPER) == fitted


@pytest.mark.parametrize("shape", [(0, 10), (10, 0), (-5, 10), (2001, 10), (10, 2001)])
def test_a_size_no_model_can_use_is_an_error(shape):
    with pytest.raises(ItemError) as caught:
        fit_size(*shape, PAPER)
    assert caught.value.kind == "frame_size"


@pytest.mark.parametrize("shape", [(2000, 10), (10, 2000), (6400, 32), (1, 200)])
def test_the_narrowest_picture_still_has_a_size(shape):
    assert min(fit_size(*shape, DEMO)) >= DEMO.size_multiple


@given(st.floats(0, 600))
def test_sound_is_whole_hops_and_never_too_short(duration):
    samples = audio_samples(duration)
    assert samples % AUDIO_HOP == 0
    assert samples >= MIN_AUDIO_SAMPLES
    if samples > MIN_AUDIO_SAMPLES:
        assert -0.5 <= duration * AUDIO_HZ - samples < AUDIO_HOP + 0.5


@pytest.mark.parametrize(("seconds", "samples"), [(5.0, 80_000), (3.0, 48_000), (0.01, 1_600)])
def test_samples_of_known_lengths(seconds, samples):
    assert audio_samples(seconds) == samples


def test_the_bucket_names_frames_rows_and_columns():
    assert bucket(Span(10.0, 15.0), 640, 480, PAPER) == "10x416x576"


@given(st.floats(0, 100), st.floats(0.5, 20), shapes())
def test_clips_of_one_bucket_have_the_same_shape(start, length, shape):
    span = Span(start, start + length)
    count, height, width = map(int, bucket(span, *shape, PAPER).split("x"))
    assert count == frame_count(span.duration_s, PAPER)
    assert (width, height) == fit_size(*shape, PAPER)


# Images


@st.composite
def image_medias(draw):
    pick = draw(st.sampled_from(["uniform", "random"]))
    return MediaConfig(picture="images", images=draw(st.integers(1, 20)), pick=pick)


@given(st.floats(0, 5000), st.floats(0.05, 60), image_medias(), st.text())
def test_as_many_images_as_are_asked_for_stand_in_the_clip_in_order(start, length, media, clip_id):
    span = Span(start, start + length)
    times = frame_times(span, media, clip_id)
    assert len(times) == media.images == frame_count(length, media)
    assert times == sorted(times) == frame_times(span, media, clip_id)
    assert span.start_s <= times[0]
    assert times[-1] <= span.end_s


def test_uniform_images_are_the_middles_of_equal_parts():
    media = MediaConfig(picture="images", images=5, fps=30)
    assert frame_times(Span(10, 15), media) == [10.5, 11.5, 12.5, 13.5, 14.5]
    assert bucket(Span(10, 15), 640, 480, media.model_copy(update={"square": 448})) == "5x448x448"


def test_what_a_clip_draws_is_the_same_for_ever():
    media = MediaConfig(picture="images", images=3, pick="random")
    drawn = {clip_id: frame_times(Span(0, 10), media, clip_id) for clip_id in ("0a", "0b")}
    assert drawn["0a"] == pytest.approx([2.3371823, 2.6569913, 8.8458263])
    assert drawn["0b"] != drawn["0a"]
    later = frame_times(Span(100, 110), media, "0a")
    assert later == pytest.approx([100 + time for time in drawn["0a"]])


@given(shapes(), st.integers(1, 40))
def test_a_square_picture_is_square_whatever_its_shape(shape, squares):
    media = MediaConfig(square=28 * squares, size_multiple=28)
    assert fit_size(*shape, media) == (28 * squares, 28 * squares)
