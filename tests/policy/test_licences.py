"""Licences: SPDX expressions against lists, and the words that stood in their place before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import canonicalize_license_expression

from shared.model.policy import Licences
from shared.policy.licence_names import CLASSIFIERS, NAMES
from shared.policy.licences import Passes, passes

YES, NO, UNKNOWN = Passes.YES, Passes.NO, Passes.UNKNOWN
PERMISSIVE = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "GPL-2.0-only WITH Classpath-exception-2.0",
]


def rules(allow: list[str], deny: list[str] | None = None) -> Licences:
    plain: dict[str, Any] = {"allow": allow, "deny": deny or [], "refused": "block", "unknown": "hold"}
    return Licences.check(plain, "The licences")


ALLOW, DENY = rules(PERMISSIVE), rules(["*"], ["GPL-3.0-only", "AGPL-3.0-or-later"])


@pytest.mark.parametrize(
    ("expression", "allowed", "not_denied"),
    [
        ("MIT", YES, YES),
        ("mit", YES, YES),
        ("Zlib", NO, YES),
        ("GPL-3.0-only", NO, NO),
        ("GPL-3.0-or-later", NO, NO),
        ("GPL-3.0", NO, NO),
        ("GPL-3.0+", NO, NO),
        ("GPL-2.0-only", NO, YES),
        ("LGPL-3.0-only", NO, YES),
        ("AGPL-3.0-only", NO, NO),
        ("MIT OR GPL-3.0-only", YES, YES),
        ("MIT AND GPL-3.0-only", NO, NO),
        ("MIT AND Apache-2.0", YES, YES),
        ("GPL-3.0-only OR AGPL-3.0-only", NO, NO),
        # AND binds closer than OR.
        ("MIT OR Apache-2.0 AND GPL-3.0-only", YES, YES),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", NO, NO),
        ("GPL-3.0-only AND Apache-2.0 OR MIT", YES, YES),
        ("((MIT))", YES, YES),
        ("(GPL-3.0-only OR (Zlib AND MIT)) AND Apache-2.0", NO, YES),
        ("Apache-2.0 WITH LLVM-exception", YES, YES),
        ("GPL-2.0-only WITH Classpath-exception-2.0", YES, YES),
        ("GPL-2.0-only WITH GCC-exception-2.0", NO, YES),
        ("GPL-3.0-only WITH GCC-exception-3.1", NO, NO),
        ("Apache-2.0+", YES, YES),
        ("LicenseRef-Acme", NO, UNKNOWN),
        ("LicenseRef-Acme OR MIT", YES, YES),
        ("LicenseRef-Acme AND MIT", NO, UNKNOWN),
        ("LicenseRef-Acme AND GPL-3.0-only", NO, NO),
    ],
)
def test_expressions(expression: str, allowed: Passes, not_denied: Passes) -> None:
    assert (passes([expression], ALLOW), passes([expression], DENY)) == (allowed, not_denied)


def test_a_form_of_the_version_that_is_a_choice() -> None:
    assert passes(["GPL-2.0-or-later"], rules(["GPL-2.0-only"])) is YES
    assert passes(["GPL-2.0-only"], rules(["GPL-2.0-or-later"])) is NO
    assert passes(["GPL-2.0-or-later"], rules(["GPL-2.0-or-later"])) is YES
    assert passes(["GPL-2.0+"], rules(["GPL-2.0-or-later"])) is YES


def test_deny_beats_allow_and_an_exception_may_be_named() -> None:
    assert passes(["MIT"], rules(["MIT"], ["MIT"])) is NO
    both = rules(["*"], ["GPL-3.0-only WITH GCC-exception-3.1"])
    assert passes(["GPL-3.0-only WITH GCC-exception-3.1"], both) is NO
    assert passes(["GPL-3.0-only"], both) is YES
    assert passes(["LicenseRef-Acme"], rules(["LicenseRef-Acme"])) is YES


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        ([], UNKNOWN),
        (["License :: OSI Approved"], UNKNOWN),
        (["License :: OSI Approved :: MIT License"], YES),
        (["MIT License"], YES),
        (["The MIT License"], YES),
        (["Apache License, Version 2.0"], YES),
        (["BSD"], YES),
        (["see LICENSE"], UNKNOWN),
        (["see LICENSE", "License :: OSI Approved :: MIT License"], YES),
        (["see LICENSE", "License :: OSI Approved"], UNKNOWN),
        (["MIT", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"], NO),
        (["MIT", "License :: Free For Educational Use"], UNKNOWN),
        (["GPL-3.0-only", "License :: Free For Educational Use"], NO),
        (["License :: OSI Approved", "License :: OSI Approved :: Apache Software License"], YES),
        (["MIT/Apache-2.0"], UNKNOWN),
        (["MIT Apache-2.0"], UNKNOWN),
        (["(MIT"], UNKNOWN),
        (["MIT AND"], UNKNOWN),
        (["(" * 40 + "MIT" + ")" * 40], UNKNOWN),
        (["MIT OR " * 500 + "MIT"], UNKNOWN),
        (["not MIT"], UNKNOWN),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_authors_write(statements: list[str], found: Passes) -> None:
    assert passes(statements, ALLOW) is found


def test_every_name_stands_for_an_expression_in_its_normal_form() -> None:
    for known in {*CLASSIFIERS.values(), *NAMES.values()}:
        assert canonicalize_license_expression(known) == known
    assert all(name == " ".join(name.casefold().replace(",", "").split()) for name in NAMES)


_ids = st.sampled_from(["MIT", "Zlib", "GPL-3.0-only", "Apache-2.0", "ISC"])
_trees = st.recursive(
    _ids, lambda inner: st.tuples(inner, st.sampled_from(["AND", "OR"]), inner), max_leaves=12
)


def _text(tree: Any) -> str:
    return tree if isinstance(tree, str) else f"({_text(tree[0])} {tree[1]} {_text(tree[2])})"


def _value(tree: Any, allowed: set[str]) -> bool:
    if isinstance(tree, str):
        return tree in allowed
    left, right = _value(tree[0], allowed), _value(tree[2], allowed)
    return (left and right) if tree[1] == "AND" else (left or right)


@given(_trees, st.sets(_ids, min_size=1))
def test_any_expression_has_the_value_of_its_logic(tree: Any, allowed: set[str]) -> None:
    assert passes([_text(tree)], rules(sorted(allowed))) is (YES if _value(tree, allowed) else NO)
    others = sorted({"MIT", "Zlib", "GPL-3.0-only", "Apache-2.0", "ISC"} - allowed)
    assert passes([_text(tree)], rules(["*"], others)) is (YES if _value(tree, allowed) else NO)


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    assert passes([text], ALLOW) in Passes
