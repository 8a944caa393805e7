"""Near-duplicates between pools are left out, counted and shown; templates and other numbers are none."""

import itertools

import pytest

from drpt.data.near_duplicates import CommonWording, NearDuplicates
from drpt.data.wording import folded, words_of
from tests.data.lists import Lists, drawn, sentence, talk

STORY = (
    "The ferry left the harbour before dawn, carrying two crates of oranges and a letter that nobody on the island had asked "
    "for. What was in the letter?"
)
VERSIONS = [
    STORY.replace("Two", "two").replace("before dawn", "at dawn"),
    f"Please answer: {STORY}",
    STORY.replace(",", "").replace("?", ""),
]


def jaccard(first, second):
    """From the definition."""
    first, second = (
        {tuple(words[i : i + 3]) for i in range(len(words) - 2)}
        for words in ("".join(c if c.isalnum() else " " for c in text.lower()).split() for text in (first, second))
    )
    return len(first & second) / len(first | second)


def test_the_index_gives_jaccards_index():
    texts = [STORY, *VERSIONS, sentence(3), sentence(3)[:30]]
    wording = CommonWording([])
    for first, second in itertools.permutations(texts, 2):
        found = NearDuplicates(0.01, wording)
        found.add("target", talk(first, "a"))
        nearest = found.nearest("general", talk(second, "b"))
        expected = jaccard(first, second)
        assert (nearest.similarity if nearest else 0.0) == pytest.approx(expected if expected >= 0.01 else 0.0)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_of_a_held_out_question_is_left_out_counted_and_shown(version):
    others = [talk(sentence(i), "a") for i in range(12)]
    source = Lists([talk(version, "x"), *others[:6]], others[6:], [talk(STORY, "y")])
    pools = drawn(source, num_eval=1)
    assert pools.counts["general_near_duplicate"] == 1
    (shown,) = pools.near_duplicates
    assert shown.similarity >= 0.7
    assert "general row 'please answer" in str(shown) or "the ferry left" in str(shown)
    kept = drawn(source, num_eval=1, near_duplicates=None)
    assert len(kept.general) == len(pools.general) + 1
    assert "general_near_duplicate" not in kept.counts


def test_target_examples_are_compared_too():
    target = [talk(VERSIONS[1], "a"), *(talk(sentence(i), "a") for i in range(6))]
    pools = drawn(Lists([talk(sentence(50 + i), "a") for i in range(6)], target, [talk(STORY, "y")]), num_target=6, num_eval=1)
    assert pools.counts["target_near_duplicate"] == 1
    general = [talk(VERSIONS[0], "x"), talk(sentence(60), "x")]
    pools = drawn(Lists(general, [talk(STORY, "y"), *target[1:]], [talk(sentence(70), "e")]), num_target=7, num_eval=1)
    assert pools.counts["general_near_duplicate"] == 1


def test_other_numbers_are_another_problem():
    first = "Ann packs 43 pears into boxes of 5 and gives the rest to Bob. How many pears does Bob get from Ann in the end?"
    assert jaccard(first, first.replace("43", "21")) >= 0.7
    pools = drawn(Lists([talk(first.replace("43", "21"), "1")], [talk(sentence(i), "a") for i in range(4)], [talk(first, "3")]))
    assert len(pools.general) == 1
    assert "general_near_duplicate" not in pools.counts


def test_the_wording_of_a_template_is_no_evidence():
    template = (
        "You are given a short review of a film that somebody wrote after they had seen it. Say in a single word whether the "
        "person who wrote it liked the film or not, and do not explain your answer. The review: {}."
    )
    rows = [talk(template.format(sentence(i, 3)), "yes") for i in range(60)]
    assert jaccard(rows[0].messages[0].content, rows[1].messages[0].content) > 0.7
    pools = drawn(Lists(rows[:30], rows[30:]), num_target=10, num_eval=10)
    assert pools.sizes == {"general": 30, "target": 10, "stopping": 0, "evaluation": 10}


def test_scripts_without_spaces_are_compared_by_characters():
    first, second = "東京から大阪まで新幹線で何時間かかりますか", "東京から大阪まで新幹線で何分かかりますか"
    assert len(words_of(folded(first)).shingles) > 10
    found = NearDuplicates(0.6, CommonWording([]))
    found.add("target", talk(first, "a"))
    assert found.nearest("general", talk(second, "b")) is not None


def test_the_threshold_has_a_rule():
    with pytest.raises(ValueError, match=r"data\.near_duplicates=2\.0 must lie in"):
        drawn(Lists([], []), near_duplicates=2.0)
