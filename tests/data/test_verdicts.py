"""What counts as the same question, as nearly the same or as held within a longer text, and what as another one."""

import pytest

from drpt.data.example import Example
from drpt.data.near_duplicates import CommonWording, NearDuplicates
from drpt.data.sameness import Asked
from tests.data.lists import talk, text

PEARS = "Ann packs 43 pears into boxes of 5 and gives the rest to Bob. How many pears does Bob get from Ann in the end?"
SARA = "Sara has {} apples and buys some more so that she has ten in all. How many apples did she buy at the shop?"
COINS = "Bob has {} as many coins as Ann, who has 12 coins in her purse. How many coins do the two have together?"
ADMIN = "You are a careful system administrator who answers with a single line of code and never explains anything. {}"
BASH = "Write a bash command that deletes the {} named {} in the home folder of the user {} and prints its size."
CODE = "def f(x):\n    return x + {}\nWhat does f(3) return and why is it so in this program?"
ITEM = "Write a Python function that returns the {} item of a list of integers."
PAPER = "How {} I cancel my subscription to the newspaper before the end of the month?"
ROME = ("Tell me about Rome and its history.", "Long.")

# Held-out prompt, another text, and whether that is the same question (s), nearly (n), holds it (h), or another one (-).
# Several texts are the turns of a conversation, the last one a response; "TEXT" is a plain text.
VERDICTS = [
    # sheets
    (PEARS, f"Problem 7. {PEARS}", "n"),
    (PEARS, f"(2 points) {PEARS}", "n"),
    (PEARS, f"12) {PEARS} Round to 2 decimals.", "n"),
    (PEARS, f"**Question 3:** {PEARS}", "n"),
    (PEARS, f"Answer in at most 50 words: {PEARS}", "n"),
    (f"Exercise 4. {PEARS}", PEARS, "n"),
    (PEARS, f"Q: Tom has 3 apples and eats 1. How many are left?\nA: 2\n\nQ: {PEARS}\nA:", "h"),
    (PEARS, ("Hi", "Hello!", PEARS, "3", "And if there were 44?", "4"), "s"),
    (PEARS, ("TEXT", f"Chapter 2. About fruit.\n{PEARS}\nThe answer is 3. More about other things, 17 of them."), "h"),
    (PEARS, ("Make me a practice sheet.", f"Sure!\n1. {PEARS}\n2. Another one."), "h"),
    (
        PEARS,
        f"{PEARS.replace('packs', 'puts')} Here is one more: if a train leaves at 7, when does it arrive in the town?",
        "h",
    ),
    (PEARS, PEARS.replace("43", "forty-three").replace("5", "five"), "n"),
    (PEARS, PEARS.replace("packs", "puts"), "n"),
    (PEARS, PEARS.replace("43", "21"), "-"),
    (PEARS, f"Problem 43. {PEARS.replace('43', '21')}", "-"),
    (PEARS, PEARS.replace("Ann", "Tom").replace("Bob", "Sue").replace("pears", "plums"), "-"),
    (SARA.format("three"), SARA.format("five"), "-"),
    (SARA.format("three"), SARA.format("3"), "n"),
    (COINS.format("twice"), COINS.format("three times"), "-"),
    ("Who wrote Emma?", "Problem 7. Who wrote Emma?", "n"),
    ("Who wrote Emma?", "(2 points) Who wrote Emma?", "n"),
    ("Q7: Who wrote Emma?", "Who wrote Emma?", "n"),
    ("Who wrote Emma?", "Q: Who wrote Dune?\nA: Herbert\n\nQ: Who wrote Emma?\nA:", "h"),
    ("What is the capital of France?", "Answer briefly. What is the capital of France?", "h"),
    ("What is the capital of France?", "What is the capital of France and Germany?", "-"),
    ("What is the capital of France?", "What is the capital of Spain?", "-"),
    # sums
    ("Calculate 3 + 4.", "What is 4 + 3?", "s"),
    ("3+4=", "What is the sum of 3 and 4?", "s"),
    ("What is three plus four?", "Add 4 and 3.", "s"),
    ("Calculate 12 * 3 - 4.", "Work out: -4 + 3 × 12", "s"),
    ("Calculate 3 + 4.", "(2 points) Calculate $3 + 4$ step by step.", "s"),
    ("Calculate 3 + 4.", "Q: What is 9 - 2?\nA: 7\n\nQ: What is 3 + 4?\nA: 7\n\nQ: What is 8 + 8?\nA:", "s"),
    ("Q: What is 9 - 2?\nA: 7\n\nQ: What is 3 + 4?\nA:", "Q: What is 9 - 2?\nA: 7\n\nQ: What is 8 + 8?\nA:", "-"),
    ("Please compute the following sum and answer with one number: 17 + 25", "25+17", "s"),
    ("Calculate 3 + 4.", "Calculate 3 + 4 + 5.", "-"),
    ("Calculate 3 - 4.", "Calculate 4 - 3.", "-"),
    ("Calculate 3 + 4.", "Calculate 3 * 4.", "-"),
    ("I have worked 5-10 years, which visa do I need?", "Wait 5-10 minutes before you open the oven.", "-"),
    ("What is 20% of 50?", "What is 50% of 20?", "-"),
    # programs
    (BASH.format("file", "a.txt", "eve"), BASH.format("directory", "a.txt", "eve"), "-"),
    (ADMIN.format(BASH.format("file", "a.txt", "eve")), ADMIN.format(BASH.format("directory", "a.txt", "eve")), "-"),
    ("Write a game of snakes in C++ for two players.", "Write a game of snakes in C# for two players.", "-"),
    ("What does a && b return in JavaScript for objects?", "What does a || b return in JavaScript for objects?", "-"),
    (ITEM.format("largest"), ITEM.format("smallest"), "-"),
    (ITEM.format("largest"), f"Please {ITEM.format('largest').lower()}\n```python\n```", "n"),
    ("How do I reverse a list in Python?", "How do I reverse a string in Python?", "-"),
    ("How do I reverse a list in Python?", "I am new here. How do I reverse a list in Python?", "h"),
    (CODE.format(1), f"Look at this.\n{CODE.format(1)}", "n"),
    (CODE.format(1), CODE.format(2), "-"),
    # conversations
    ("Hi", ("Hi", "Hello!", *ROME), "-"),
    ("Hi", "hi", "s"),
    ("Hello there", ("Hello there", "Hi!", *ROME), "-"),
    ("How are you?", ("How are you?", "Fine.", *ROME), "-"),
    ("Can you help me?", ("Can you help me?", "Sure.", *ROME), "-"),
    ("Continue", ("Continue", "Of what?", *ROME), "-"),
    ("你好", ("你好", "你好！", "法国的首都是哪里？", "巴黎"), "-"),
    ("Tell me more", (*ROME, "Tell me more", "..."), "-"),
    ("Thanks", (*ROME, "Thanks", "Welcome"), "-"),
    ("What is a fjord?", ("What is a fjord?", "An inlet.", "Thanks!", "Welcome"), "s"),
    (("Hi", "Hello!", "What is a fjord?", "An inlet."), "What is a fjord?", "s"),
    ("What is a fjord?", ("Tell me about Norway.", "It is north.", "What is a fjord?", "An inlet."), "h"),
    (("Hi", "Hello!", "What is a fjord?", "An inlet."), ("Hi", "Hello!", "What is a moor?", "A heath."), "-"),
    (PAPER.format("do"), ("Hi", "Hello!", PAPER.format("can"), "Call."), "n"),
    (PAPER.format("do"), "How do I cancel my contract with the gym before the end of the year?", "-"),
    # templates
    ("Translate to German: The cat sleeps on the mat.", "Translate to German: The dog sleeps on the mat.", "-"),
    ("Summarise the article about the election in France.", "Summarise the article about the election in Spain.", "-"),
    ("Write an email to Ann about the meeting on Monday.", "Write an email to Bob about the party on Sunday.", "-"),
    ("東京から大阪まで新幹線で何時間かかりますか", "質問:東京から大阪まで新幹線で何時間かかりますか?", "n"),
]


def example(words):
    if isinstance(words, str):
        return talk(words, "a")
    return text(words[1]) if words[0] == "TEXT" else talk(*words)


@pytest.fixture(scope="module")
def wording():
    """A file of one template, in which both of two words are common."""
    tasks = [BASH.format(kind, f"x{i}y.txt", f"u{i}z") for i in range(15) for kind in ("file", "directory")]
    return CommonWording([talk(ADMIN.format(task), "a") for task in tasks])


@pytest.mark.parametrize(("held_out", "other", "verdict"), VERDICTS)
def test_what_counts_as_the_same_question(held_out, other, verdict, wording):
    asked, near = Asked(), NearDuplicates(0.7, wording)
    asked.add(example(held_out))
    near.add("evaluation", example(held_out), is_held_out=True)
    found = near.nearest("general", example(other))
    kind = "-" if found is None else "h" if found.is_contained else "n"
    assert ("s" if asked.has(example(other)) else kind) == verdict


def test_what_is_taught_as_a_target_may_stand_in_longer_texts():
    near = NearDuplicates(0.7, CommonWording([]))
    near.add("target", talk(PEARS, "3"))
    longer = f"Tell me what is asked here and in what tone.\n\n{PEARS}\n\n{COINS} {SARA} {BASH}"
    assert near.nearest("general", talk(longer, "a")) is None


def test_an_example_to_stop_by_does_not_stand_within_those_that_are_trained_on():
    near = NearDuplicates(0.7, CommonWording([]), for_held_out=True)
    near.add("target", talk("Make me a practice sheet.", f"1. {PEARS}\n2. Who wrote Emma?"))
    for question in (PEARS, PEARS.replace("packs", "puts"), "Who wrote Emma?"):
        found = near.nearest("target", talk(question, "a"))
        assert found is not None
        assert found.is_contained
        assert "contains" in str(found)
    assert near.nearest("target", talk(PEARS.replace("5", "6"), "a")) is None


def test_generated_sums_are_found_in_texts_and_the_other_way_round():
    generated = talk("State the final answer to the following arithmetic problem: 3 + 4 =", "7")
    generated = Example(messages=generated.messages, source="chain_sum", payload={"metadata": {"expression": "3 + 4"}})
    for one, other in ((generated, talk("What is 4 + 3?", "7")), (talk("What is 4 + 3?", "7"), generated)):
        asked = Asked()
        asked.add(one)
        assert asked.has(other)
        assert not asked.has(talk("What is 4 + 5?", "9"))
