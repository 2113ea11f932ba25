"""Eight domains of synthetic prompts for the users of the live experiments, hundreds of distinct prompts each.

The paper gives each draft server its own data set. Here each domain has its own templates, filled at random from a
seed; passages are shuffled sentences of the built-in domain `rewriting`.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np

from goodspeed.prompts.prompts import load_prompts


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


NAMES = _words("Priya Tom Ana Jonas Clara Martin Helena Omar Lena Victor Mia Paul Ruth Sven Carla Noah Elif Hugo")
CITIES = _words(
    "Lisbon Rome Oslo Kyoto Cairo Boston Vienna Dublin Prague Athens Lima Seoul Madrid Berlin Toronto Istanbul"
)
GOODS = _words("apples pencils books tickets cookies marbles stamps eggs bottles candles oranges cards")
JOBS = _words("baker nurse pilot farmer teacher painter sailor gardener doctor carpenter")
ANIMALS = _words("fox owl whale rabbit turtle bear sparrow wolf hedgehog otter")
MOODS = _words("brave lonely curious clumsy proud sleepy generous jealous tiny stubborn")
PLACES = ("a desert", "a lighthouse", "the moon", "an old library", "a busy market", "a frozen lake", "a deep forest")
INTERESTS = ("museums", "food", "hiking", "music", "history", "architecture", "shopping", "gardens")
TOPICS = (
    *("black holes", "vaccines", "inflation", "photosynthesis", "earthquakes", "volcanoes", "democracy", "gravity"),
    *("the water cycle", "antibiotics", "solar panels", "the stock market", "tides", "glaciers", "DNA", "rainbows"),
    *("nuclear power", "insurance", "coral reefs", "electric cars", "the ozone layer", "memory", "sleep", "friction"),
)
LISTENERS = ("a child", "a student", "a grandparent", "an engineer", "a journalist", "a teenager")
TASKS = (
    *("reverses a string", "finds the largest number in a list", "counts the vowels of a word", "sorts three numbers"),
    *("checks whether a number is prime", "adds two matrices", "computes a factorial", "merges two dictionaries"),
    *("removes spaces from a string", "finds the longest word of a sentence", "computes the mean of a list"),
    *("counts the lines of a file", "converts hours to seconds", "checks whether two words are anagrams"),
    *("splits a list into chunks", "returns the common elements of two lists", "rounds a price to two digits"),
)
EXTRAS = (
    *("Add a docstring.", "Add type hints.", "Add two examples.", "Explain each line.", "Add a small test."),
    *("Do not use any library.", "Handle wrong input.", "Keep it short.", "Also show how it is called."),
)
SENTENCES = tuple(
    sentence
    for prompt in load_prompts("rewriting")
    for sentence in re.split(r"(?<=[.!?]) ", prompt.messages[0].content.partition("\n\n")[2])
    if 30 <= len(sentence) <= 110
)


def prompts(domain: str, seed: int) -> Iterator[str]:
    """Distinct prompts of the domain in an order that the seed determines. Raises KeyError for an unknown domain."""
    rng = np.random.default_rng([seed, *domain.encode()])
    seen: set[str] = set()
    while True:
        prompt = DOMAINS[domain](rng)
        if prompt not in seen:
            seen.add(prompt)
            yield prompt


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _passage(rng: np.random.Generator, length: int) -> str:
    return " ".join(SENTENCES[i] for i in rng.choice(len(SENTENCES), size=length, replace=False))


def _copying(rng: np.random.Generator) -> str:
    return f"Repeat the following text word for word.\n\n{_passage(rng, 3)}"


def _correcting(rng: np.random.Generator) -> str:
    style = _pick(rng, ("in capital letters", "one sentence per line", "as a numbered list", "in quotation marks"))
    return f"Write the following text {style}. Keep all its words.\n\n{_passage(rng, 3)}"


def _records(rng: np.random.Generator) -> str:
    people = ", ".join(
        f"{name} from {_pick(rng, CITIES)} is a {_pick(rng, JOBS)} and {int(rng.integers(20, 80))} years old"
        for name in (NAMES[i] for i in rng.choice(len(NAMES), size=3, replace=False))
    )
    return f"Make a table with the columns name, city, job and age: {people}."


def _maths(rng: np.random.Generator) -> str:
    name, goods, (a, b, c) = _pick(rng, NAMES), _pick(rng, GOODS), rng.integers(3, 60, size=3)
    return (
        f"{name} has {a} boxes with {b} {goods} each and gives away {c} {goods}. "
        f"How many {goods} are left? Explain step by step."
    )


def _coding(rng: np.random.Generator) -> str:
    language = _pick(rng, ("Python", "JavaScript", "Java"))
    return f"Write a function in {language} that {_pick(rng, TASKS)}. {_pick(rng, EXTRAS)}"


def _travel(rng: np.random.Generator) -> str:
    days, city, interest = int(rng.integers(2, 8)), _pick(rng, CITIES), _pick(rng, INTERESTS)
    return f"Plan {days} days in {city} for {_pick(rng, LISTENERS)} who likes {interest}."


def _explaining(rng: np.random.Generator) -> str:
    return f"Explain {_pick(rng, TOPICS)} to {_pick(rng, LISTENERS)} who comes from {_pick(rng, CITIES)}."


def _stories(rng: np.random.Generator) -> str:
    hero = f"a {_pick(rng, MOODS)} {_pick(rng, ANIMALS)} called {_pick(rng, NAMES)}"
    return f"Tell a story about {hero} who finds {_pick(rng, GOODS)} in {_pick(rng, PLACES)}."


DOMAINS: dict[str, Callable[[np.random.Generator], str]] = {
    "copying": _copying,
    "correcting": _correcting,
    "records": _records,
    "maths": _maths,
    "coding": _coding,
    "travel": _travel,
    "explaining": _explaining,
    "stories": _stories,
}
