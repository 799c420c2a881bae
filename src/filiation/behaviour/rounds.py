"""What the tests of tokenizer, output layer and identity share in asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filiation.endpoint.model import Answer, Ask, Asker, Call, Capabilities, Failure, chat
from filiation.errors import BudgetError
from filiation.evidence import Place

MOST_PLACES = 64


def said(capabilities: Capabilities, text: str, **options: Any) -> Ask:
    """Return the request that says ``text``: as a conversation, or as a raw prompt where there is no chat."""
    return chat(text, **options) if capabilities.chat else Ask(prompt=text, **options)


def asked(asker: Asker, calls: Sequence[Call]) -> tuple[Answer | Failure, ...] | None:
    """Return the answers, None where the budget does not allow the requests."""
    left = asker.allowance().requests
    if left is not None and left < len(calls):
        return None
    try:
        return asker.ask(calls)
    except BudgetError:
        return None


def places(replies: Sequence[Answer | Failure]) -> tuple[Place, ...]:
    """Return where a reader finds the answers in the log; the first of them where there are very many."""
    return tuple(Place(request=reply.request) for reply in replies[:MOST_PLACES])
