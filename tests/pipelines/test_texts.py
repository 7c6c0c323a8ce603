import pytest

from ah_ray.pipelines.texts import said


@pytest.mark.parametrize(
    ("text", "labels", "read"),
    [
        ("It smiles.", [], "It smiles."),
        (None, ["calm", "sad"], "calm, sad"),
        (None, ["Yes"], "Yes"),
        (None, [], "[]"),  # it looked, and has no word
    ],
)
def test_who_reads_an_answer_gets_its_text_or_its_list(text, labels, read):
    assert said({"text": text, "labels": labels, "raw_text": "whatever was written"}) == read
