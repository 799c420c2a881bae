"""A bank of questions for tokenwatt-verify, as its documentation asks everyone to write one (``--probes``).

Its sample bank is public and made for large models: products of three digits by two, strings reversed, a table of 300
rows, longer than the context that is served here. These questions suit a model of 135 million parameters: easy, drawn
anew for every round, graded by program, and answered in few tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Germany": "Berlin",
    "Spain": "Madrid",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
    "Russia": "Moscow",
    "China": "Beijing",
    "Greece": "Athens",
    "England": "London",
    "Cuba": "Havana",
    "Ireland": "Dublin",
}
ORDERS = (
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
)
SYSTEM = "You are a helpful assistant."


def capital(rng: random.Random) -> dict[str, Any]:
    """Ask for a capital."""
    country = rng.choice(sorted(CAPITALS))
    return _asked(f"What is the capital of {country}? Answer in one short sentence.", CAPITALS[country])


def following(rng: random.Random) -> dict[str, Any]:
    """Ask what comes next in an order that everyone knows."""
    order = rng.choice(ORDERS)
    at = rng.randrange(len(order) - 1)
    return _asked(f"Which one comes directly after {order[at]}? Answer in one short sentence.", order[at + 1])


def _asked(user: str, expected: str) -> dict[str, Any]:
    def grade(text: str) -> tuple[bool, str]:
        return expected.lower() in text.lower(), f"expected {expected}"

    return {"system": SYSTEM, "user": user, "max_tokens": 24, "grade": grade}


Make = Callable[[random.Random], dict[str, Any]]
SUITE: list[tuple[str, Make]] = [("capital", capital), ("following", following)]
