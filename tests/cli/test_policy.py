"""Policies: what they read, what they ask, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from filiation.cli.policy import Policy, judge, read_policy, with_relations
from filiation.errors import NotFoundError, UsageError
from filiation.evidence import Relation, Report, plain
from filiation.report.wording import phrases
from tests.report.samples import verdict_report

EN = phrases("en")


def written(folder: Path, text: str) -> Path:
    file = folder / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_policy_is_read(tmp_path: Path) -> None:
    text = '[policy]\nfail_if = ["common_origin", "identical"]\nfail_unless = []\nmax_log10_e = 3\n'
    assert read_policy(written(tmp_path, text)) == Policy(
        frozenset({"common-origin", "identical"}), frozenset(), 3
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("fail_if = []", "no table"),
        ("[policy", "end of a table"),
        ("[policy]\nfail_if = 'identical'", "must be a list"),
        ("[policy]\nfail_if = ['descended']", "There is no relation 'descended'"),
        ("[policy]\nmax_log10_e = 'six'", "must be a number"),
        ("[policy]\nmax_inherited_share = true", "must be a number"),
        ("[policy]\nmaximum = 1", "no key 'maximum'"),
    ],
)
def test_what_is_no_policy_is_refused_with_a_reason(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=reason):
        read_policy(written(tmp_path, text))


def test_a_missing_policy_is_an_input_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_policy(tmp_path / "policy.toml")


def code(report: Report, **policy: object) -> int:
    return judge(report, Policy(**policy), EN).code  # type: ignore[arg-type]


def test_no_policy_is_always_met_and_says_nothing() -> None:
    for relation in Relation:
        assert judge(verdict_report(relation), Policy(), EN) == judge(
            verdict_report(Relation.IDENTICAL), Policy(), EN
        )


def test_a_required_relation() -> None:
    required = frozenset({"identical", "common-origin"})
    assert code(verdict_report(Relation.IDENTICAL), fail_unless=required) == 0
    assert code(verdict_report(Relation.NONE_FOUND), fail_unless=required) == 1
    assert code(verdict_report(Relation.CANNOT_TEST), fail_unless=required | {"inconclusive"}) == 0


@pytest.mark.parametrize("key", ["fail_if", "fail_unless"])
def test_a_common_origin_includes_identical_models(key: str) -> None:
    asked: dict[str, object] = {key: frozenset({"common-origin"})}
    violated = 1 if key == "fail_if" else 0
    assert code(verdict_report(Relation.IDENTICAL), **asked) == violated
    assert code(verdict_report(Relation.COMMON_ORIGIN), **asked) == violated
    assert code(verdict_report(Relation.SHARED_PARTS), **asked) == 1 - violated
    assert code(verdict_report(Relation.COMMON_ORIGIN), fail_if=frozenset({"identical"})) == 0


def test_ceilings() -> None:
    assert code(verdict_report(Relation.SUGGESTIVE), max_log10_e=2.0) == 1
    assert code(verdict_report(Relation.SUGGESTIVE), max_log10_e=4.0) == 0
    assert code(verdict_report(Relation.CANNOT_TEST), max_log10_e=0.0) == 0
    assert code(verdict_report(Relation.SHARED_PARTS, inherited_share=0.4), max_inherited_share=0.3) == 1


def test_a_violation_outweighs_an_open_question() -> None:
    report = verdict_report(Relation.SUGGESTIVE)
    assert code(report, fail_if=frozenset({"inconclusive"})) == 3
    assert code(report, fail_if=frozenset({"inconclusive", "suggestive"})) == 1


def test_every_candidate_is_held_against_the_policy() -> None:
    report = verdict_report(Relation.NONE_FOUND)
    other = replace(report.verdict, relation=Relation.COMMON_ORIGIN, log10_e=90.0, candidate=1)
    both = replace(report, extra={"verdicts": [plain(report.verdict), plain(other)]})
    assert code(both, fail_if=frozenset({"common-origin"})) == 1


def test_options_add_to_the_file() -> None:
    assert with_relations(Policy(frozenset({"identical"})), ["common-origin"]).fail_if == {
        "identical",
        "common-origin",
    }
