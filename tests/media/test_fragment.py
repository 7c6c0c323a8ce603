import pytest
from hypothesis import given
from hypothesis import strategies as st

from ah_ray.media.fragment import split_fragment, split_image, split_times, with_image, with_times
from ah_ray.media.segment import Span

MICROSECONDS = st.integers(0, 10**11)


@given(st.text(), MICROSECONDS, MICROSECONDS)
def test_what_goes_in_comes_out(source, start, length):
    span = Span(start / 1e6, (start + length) / 1e6)
    found, times = split_times(with_times(source, span))
    assert found == source
    assert times == pytest.approx(span, abs=1e-6)


@pytest.mark.parametrize(
    "uri", ["a.mp4", "s3://b/a.mp4", "a.mp4#t=5", "a#t=1,2.mp4", "#t=1.0,2.0", ""]
)
def test_other_names_are_whole_files(uri):
    assert split_times(uri) == (uri, None)
    assert split_image(uri) is None
    assert split_fragment(uri) == (uri, "")


@given(
    st.text(), MICROSECONDS, st.integers(0, 99), st.from_regex(r"[0-9a-f]{1,16}", fullmatch=True)
)
def test_an_image_is_named_by_its_clip_and_its_place(source, start, number, clip_id):
    assert split_image(with_image("v.mp4", number, clip_id)) == ("v.mp4", number, clip_id)
    clip = with_times(source, Span(start / 1e6, start / 1e6 + 5))
    uri = with_image(clip, number, clip_id)
    assert split_image(uri) == (clip, number, clip_id)
    assert split_times(uri) == split_times(clip)
    found, fragment = split_fragment(uri)
    assert (found, found + fragment) == (source, uri)
