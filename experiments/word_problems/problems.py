"""Generates two hundred arithmetic word problems with their answers, as a small target file.

``python -m experiments.word_problems.problems FILE`` writes one ``{"question": …, "answer": …}`` on each line.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

NUM_PROBLEMS = 200
_SEED = 20

_PEOPLE = ("Amara", "Benno", "Chiara", "Dmitri", "Esi", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Keira", "Luan")
_THINGS = ("marbles", "postcards", "pears", "tickets", "candles", "seashells", "buttons", "notebooks", "tulips", "stamps")
_PLACES = ("the harbour", "the old mill", "the library", "the market square", "the lighthouse", "the botanical garden")


def problems() -> Iterator[tuple[str, int]]:
    """Yield distinct problems with their answers."""
    draw = random.Random(_SEED)
    seen: set[str] = set()
    kinds: tuple[Callable[[random.Random], tuple[str, int]], ...] = (_shared, _bought, _walked, _packed, _older, _filled)
    while len(seen) < NUM_PROBLEMS:
        question, answer = kinds[len(seen) % len(kinds)](draw)
        if question not in seen:
            seen.add(question)
            yield question, answer


def _shared(draw: random.Random) -> tuple[str, int]:
    first, second = draw.sample(_PEOPLE, 2)
    thing, own, gift = draw.choice(_THINGS), draw.randint(20, 90), draw.randint(2, 19)
    return f"{first} has {own} {thing} and gives {gift} of them to {second}. How many {thing} has {first} left?", own - gift


def _bought(draw: random.Random) -> tuple[str, int]:
    who, thing = draw.choice(_PEOPLE), draw.choice(_THINGS)
    count, price, note = draw.randint(2, 9), draw.randint(2, 9), 100
    question = (
        f"{who} buys {count} {thing} for {price} coins each and pays with {note} coins. How many coins does {who} get back?"
    )
    return question, note - count * price


def _walked(draw: random.Random) -> tuple[str, int]:
    who, where = draw.choice(_PEOPLE), draw.choice(_PLACES)
    there, days = draw.randint(2, 12), draw.randint(2, 7)
    question = (
        f"It is {there} kilometres from {who}'s house to {where}. {who} walks there and back on {days} days. How many "
        f"kilometres does {who} walk altogether?"
    )
    return question, 2 * there * days


def _packed(draw: random.Random) -> tuple[str, int]:
    who, thing = draw.choice(_PEOPLE), draw.choice(_THINGS)
    boxes, each, loose = draw.randint(3, 12), draw.randint(4, 12), draw.randint(1, 3)
    question = (
        f"{who} packs {boxes * each + loose} {thing} into boxes of {each}. How many {thing} are left over when no more box "
        "can be filled?"
    )
    return question, loose


def _older(draw: random.Random) -> tuple[str, int]:
    first, second, third = draw.sample(_PEOPLE, 3)
    age, more, less = draw.randint(9, 30), draw.randint(2, 9), draw.randint(2, 8)
    question = (
        f"{first} is {age} years old. {second} is {more} years older than {first}, and {third} is {less} years younger than "
        f"{second}. How old is {third}?"
    )
    return question, age + more - less


def _filled(draw: random.Random) -> tuple[str, int]:
    who = draw.choice(_PEOPLE)
    rate, minutes, lost = draw.randint(3, 12), draw.randint(4, 20), draw.randint(2, 10)
    question = (
        f"{who} fills a tank at {rate} litres a minute for {minutes} minutes. Then {lost} litres leak out. How many litres are "
        "in the tank?"
    )
    return question, rate * minutes - lost


def write_problems(path: Path) -> None:
    """Write all problems, a JSON object a line."""
    lines = [json.dumps({"question": question, "answer": str(answer)}) for question, answer in problems()]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Write the file."""
    write_problems(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
