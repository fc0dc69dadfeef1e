import pytest

from transformers_aura.evaluation.items import Item, length_group, shortest_seconds


def test_an_item_that_nothing_could_answer_is_an_error():
    with pytest.raises(ValueError, match="no accepted answer"):
        Item("1", "answer", "a.wav", ())
    with pytest.raises(ValueError, match="3 of 2 accepted answers"):
        Item("1", "answer", "a.wav", ("a", "b"), needed=3)


def test_items_of_one_source_belong_together():
    assert Item("1/aus", "answer", "a.wav", ("a",), source="1").cluster == "1"
    assert Item("1", "answer", "a.wav", ("a",)).cluster == "1"


def test_length_groups_sort_from_short_to_long():
    groups = ["all", "accent=b", "length=10-20 s", "length=30 s or more", "accent=a", "length=2-5 s"]
    assert sorted(groups, key=shortest_seconds) == [
        "all", "accent=b", "accent=a", "length=2-5 s", "length=10-20 s", "length=30 s or more"
    ]  # fmt: skip


def test_length_groups():
    assert [length_group(seconds) for seconds in (0.5, 2.0, 7.0, 29.9, 300.0)] == [
        "length=0-2 s", "length=2-5 s", "length=5-10 s", "length=20-30 s", "length=30 s or more"
    ]  # fmt: skip
