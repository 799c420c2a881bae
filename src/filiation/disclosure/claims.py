"""What a repository says of itself: every claim with its place.

Subjects of claims, by where they stand:

- card: ``base_model``, ``base_model_relation``, ``license``, ``license_name``, ``license_link``, ``datasets``,
  ``tags``, ``card_name``, ``card_title``; ``card_problem`` (a phrase key) where the front matter could not be read in
  full, ``card_unreadable`` (a key) where its value is of a kind that is not read, ``card_repeated`` (a key) where a key
  stands twice with other values;
- prose: ``prose_parent``, ``prose_code``, ``prose_architecture``, ``prose_outputs``, ``prose_denial``; what it says of
  the model's own making, quoted: ``prose_scratch``, ``prose_own_model``, ``prose_own_tokenizer``, ``prose_own_code``;
  and of its licence: ``prose_license``, and ``prose_license_code`` where code alone is meant;
- configurations: ``config_name_or_path``, ``config_name``, ``config_model_type``, ``config_architecture``,
  ``auto_map``, ``quantization``, ``adapter_base``, ``adapter_type``, ``tokenizer_class``, ``tokenizer_name_or_path``;
- merge recipes: ``merge_parent``, ``merge_method``;
- GGUF: ``gguf_base_model``, ``gguf_source``, ``gguf_name``, ``gguf_license``, ``gguf_license_name``,
  ``gguf_license_link``, ``gguf_dataset``, ``gguf_architecture``;
- licence files: ``licence_text``, ``licence_mention`` (an id of the registry, or ``unknown``);
- heads of code files: ``header_holder``, ``header_licence``, ``header_changed``;
- the repository's own name: ``repository_name``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filiation.disclosure import cardyaml
from filiation.disclosure.configs import config_claims, gguf_claims, merge_claims
from filiation.disclosure.headers import read_head
from filiation.disclosure.licenceprose import licence_statements
from filiation.disclosure.ownwork import own_work
from filiation.disclosure.papers import Papers, read_papers
from filiation.disclosure.prose import statements
from filiation.evidence import Claim, Place
from filiation.repository import Repository

CARD_KEYS = frozenset(
    {
        "base_model", "base_model_relation", "license", "license_name", "license_link", "datasets", "tags",
        "model_name",
    }
)  # fmt: skip

MAX_CODE_FILES = 400
"""Code files whose heads are read."""

MAX_CODE = 1 << 20
"""Bytes of such a file."""

_CODE = (".py", ".pyi", ".cu", ".cpp", ".cc", ".c", ".h", ".js", ".ts", ".rs", ".go", ".java")


def claims(repository: Repository) -> tuple[Claim, ...]:
    """Return everything that a repository says of its parents, licence, data and name, each with its place.

    Args:
        repository: as :func:`filiation.repository.open` returns it. Nothing in it is run.
    """
    papers = read_papers(repository)
    found = [
        Claim("repository_name", repository.name, Place(file=None)),
        *card_claims(papers),
        *prose_claims(papers, repository.name),
        *config_claims(repository),
        *merge_claims(repository),
        *gguf_claims(repository),
        *licence_claims(papers),
        *header_claims(repository),
    ]
    return tuple(dict.fromkeys(found))


def card_claims(papers: Papers) -> Iterator[Claim]:
    """Yield what the card's front matter says, as written."""
    card = papers.card
    if card is None:
        return
    front = cardyaml.read(card.text, CARD_KEYS)
    if front.problem:
        yield Claim("card_problem", front.problem, card.place(1))
    for key, line in front.repeated.items():
        if len({value.text.strip() for value in front.values.get(key, ())}) > 1:
            yield Claim("card_repeated", key, card.place(line))
    for key, line in front.unreadable.items():
        yield Claim("card_unreadable", key, card.place(line))
    for key, values in front.values.items():
        subject = "card_name" if key == "model_name" else key
        for value in values:
            if value.text.strip():
                yield Claim(subject, value.text.strip(), card.place(value.line))


def prose_claims(papers: Papers, name: str = "") -> Iterator[Claim]:
    """Yield what the prose of the cards says of parents, of the model's own making, and of its licence.

    Args:
        papers: as :func:`~filiation.disclosure.papers.read_papers` returns them.
        name: the repository's own name.
    """
    for card in papers.cards:
        start = cardyaml.read(card.text, frozenset()).body_line
        lines = card.text.splitlines()
        body = "\n".join(lines[start - 1 :])
        title = _title(lines, start)
        if card is papers.card and title is not None:
            yield Claim("card_title", title[0], card.place(title[1]))
        own = tuple(n for n in (name, title[0] if title else "") if n)
        for said in statements(body, start):
            yield Claim(f"prose_{said.kind}", said.name, card.place(said.line))
        for claim in own_work(body, start, own):
            yield Claim(f"prose_{claim.kind}", claim.quote, card.place(claim.line))
        for given in licence_statements(body, start, own):
            subject = "prose_license_code" if given.code else "prose_license"
            yield Claim(subject, given.named.written, card.place(given.line))


def _title(lines: Sequence[str], start: int) -> tuple[str, int] | None:
    """Return the first heading, where it looks like a name: few words and a number."""
    for number, line in enumerate(lines[start - 1 :], start):
        if line.startswith("# "):
            text = line[2:].strip().strip("*`")
            named = len(text) <= 60 and len(text.split()) <= 4 and any(c.isdigit() for c in text)
            return (text, number) if named else None
    return None


def licence_claims(papers: Papers) -> Iterator[Claim]:
    """Yield what each licence file was recognised as."""
    for entry in papers.licences:
        subject = "licence_mention" if entry.found.basis == "mention" else "licence_text"
        for ident in entry.found.ids or ("unknown",):
            yield Claim(subject, ident, entry.paper.place(1))


def header_claims(repository: Repository) -> Iterator[Claim]:
    """Yield what the heads of code files say of holders, licences and changes."""
    for path in repository.ending(*_CODE)[:MAX_CODE_FILES]:
        file = repository.files[path]
        if (file.size or 0) > MAX_CODE:
            continue
        head = read_head(repository.text(path))
        for holder in head.holders:
            yield Claim("header_holder", holder.text, Place(path, holder.line, digest=file.sha256))
        if head.licence is not None:
            yield Claim(
                "header_licence", head.licence.text, Place(path, head.licence.line, digest=file.sha256)
            )
        for change in head.changed:
            yield Claim("header_changed", change.text, Place(path, change.line, digest=file.sha256))
