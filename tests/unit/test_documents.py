"""Documents, the pure part: blocks, chunks and the plan from one version to the next."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_integrations.interface.tokens import EstimatedTokens
from memos_integrations.operation.documents.blocks import read_blocks
from memos_integrations.operation.documents.chunking import Chunk, Part, chunk_document, title_of
from memos_integrations.operation.documents.planning import Standing, plan

TOKENS = EstimatedTokens()
GUIDE = """\
# Pump handbook

What this pump is for.

## Install

Mount the frame first:

1. Level the floor.
2. Bolt the frame down.
   Use the long bolts.

### Linux

```sh
# this is no heading
pump --start
```

## Limits

| load | hours |
|------|-------|
| half | 900   |
| full | 350   |
"""


def chunks(text: str, *, markdown: bool = True, budget: int = 240) -> list[Chunk]:
    return chunk_document([Part(text)], markdown=markdown, tokens=TOKENS, budget_tokens=budget)


def standing(found: list[Chunk], *, live: bool = True) -> list[Standing]:
    return [Standing(f"id{n}", c.heading, c.digest, c.body, live) for n, c in enumerate(found)]


def test_every_chunk_carries_the_path_of_its_headings() -> None:
    assert [c.heading for c in chunks(GUIDE)] == [
        "Pump handbook",
        "Pump handbook > Install",
        "Pump handbook > Install > Linux",
        "Pump handbook > Limits",
    ]
    assert chunks(GUIDE)[2].text.startswith("Pump handbook > Install > Linux\n\n```sh")


def test_a_list_stays_with_the_line_that_leads_into_it() -> None:
    (install,) = [c for c in chunks(GUIDE) if c.heading.endswith("Install")]
    assert install.body.startswith("Mount the frame first:\n\n1. Level")
    assert "Use the long bolts." in install.body
    blocks = read_blocks(GUIDE, markdown=True)
    assert [b.kind for b in blocks if "Mount" in b.text] == ["list"]


def test_underlined_and_marked_headings_read_the_same() -> None:
    under = "Title\n=====\n\nwords\n\nPart\n----\n\nmore\n"
    assert [c.heading for c in chunks(under)] == ["Title", "Title > Part"]
    assert title_of([Part(under)], markdown=True) == "Title"


def test_text_that_is_not_markdown_has_no_headings() -> None:
    (only,) = chunks("# 5 reasons to wait\n\nnone", markdown=False)
    assert only.headings == ()
    assert only.body.startswith("# 5 reasons")


def test_a_table_and_a_block_of_code_above_the_budget_stay_whole() -> None:
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| row{n} | {n} |" for n in range(20))
    code = "```\n" + "\n".join(f"line_{n} = {n}" for n in range(20)) + "\n```"
    assert 60 < TOKENS.count(table) < 240
    found = [c.body for c in chunks(f"{table}\n\n{code}", budget=60)]
    assert found == [table, code]


def test_an_endless_table_is_cut_between_rows_and_keeps_its_header() -> None:
    rows = [f"| row{n} | {n} |" for n in range(400)]
    found = chunks("| name | number |\n|---|---|\n" + "\n".join(rows), budget=60)
    assert len(found) > 4
    assert all(c.body.startswith("| name | number |\n|---|---|\n| row") for c in found)
    assert [r for c in found for r in c.body.split("\n")[2:]] == rows


def test_endless_code_is_cut_between_lines_and_fenced_again() -> None:
    lines = [f"step_{n}()" for n in range(600)]
    found = chunks("```python\n" + "\n".join(lines) + "\n```", budget=60)
    assert len(found) > 4
    assert all(c.body.startswith("```python\n") for c in found)
    assert all(c.body.endswith("\n```") for c in found)
    assert [x for c in found for x in c.body.split("\n")[1:-1]] == lines


def test_chinese_paragraphs_are_cut_at_their_own_full_stops() -> None:
    text = "\u6cf5\u9700\u8981\u6bcf\u5929\u52a0\u6cb9\u3002" * 60
    found = chunks(text, markdown=False, budget=64)
    assert len(found) > 5
    assert all(c.body.endswith("\u3002") for c in found)
    assert max(TOKENS.count(c.body) for c in found) <= 64


def test_a_word_without_end_is_cut_and_nothing_of_it_is_lost() -> None:
    text = "x" * 50_000
    found = chunks(text, markdown=False, budget=64)
    assert "".join(c.body for c in found) == text
    assert max(TOKENS.count(c.body) for c in found) <= 65


@pytest.mark.parametrize("text", ["#  ", "# A\n## ", "# A\n## \n## B", "# \n# A", "# \n\ntext"])
def test_a_heading_without_words_makes_no_empty_chunk(text: str) -> None:
    found = chunks(text)
    assert all(c.body.strip() for c in found)
    assert {"A", "B"} & set(text) <= {h for c in found for h in c.headings}


@given(st.lists(st.text("ab |-#`*1.\n\t:", max_size=60), max_size=20))
@settings(max_examples=200, deadline=None)
def test_no_letter_of_any_document_is_lost(lines: list[str]) -> None:
    text = "\n".join(lines)
    found = chunks(text, budget=32)
    titles = [b.text for b in read_blocks(text, markdown=True) if b.kind == "heading"]
    in_titles = sum(letters(title) for title in titles)
    # A table cut in pieces repeats its header, so there may be more than there was.
    assert sum(letters(c.body) for c in found) >= letters(text) - in_titles
    assert {title for title in titles if title} <= {h for c in found for h in c.headings}
    assert all(c.body.strip() for c in found)


def letters(text: str) -> int:
    return sum(c in "ab1" for c in text)


def test_the_same_document_again_keeps_every_chunk() -> None:
    found = chunks(GUIDE)
    todo = plan(standing(found), found)
    assert todo.kept == tuple((f"id{n}", n) for n in range(len(found)))
    assert (todo.revised, todo.added, todo.removed, todo.restored) == ((), (), (), ())


def test_a_changed_sentence_revises_its_chunk_and_no_other() -> None:
    before, after = chunks(GUIDE), chunks(GUIDE.replace("long bolts", "short bolts"))
    todo = plan(standing(before), after)
    assert todo.revised == (("id1", 1),)
    assert len(todo.kept) == 3


def test_a_renamed_heading_revises_the_chunks_under_it() -> None:
    before, after = chunks(GUIDE), chunks(GUIDE.replace("## Install", "## Set up"))
    todo = plan(standing(before), after)
    assert {item for item, _ in todo.revised} == {"id1", "id2"}
    assert not todo.added
    assert not todo.removed


def test_another_text_under_the_same_heading_is_not_taken_for_a_revision() -> None:
    before = chunks("# Menu\n\nTomato soup with bread and a glass of water.\n")
    after = chunks("# Menu\n\nThe kitchen stays closed because of a burst pipe.\n")
    todo = plan(standing(before), after)
    assert todo.removed == ("id0",)
    assert todo.added == (0,)


def test_what_was_archived_comes_back_when_it_is_said_again() -> None:
    found = chunks(GUIDE)
    todo = plan(standing(found, live=False), found)
    assert len(todo.restored) == len(found)
    assert not todo.added


def test_a_paragraph_put_in_front_moves_only_the_chunks_beside_it() -> None:
    paragraphs = [
        f"Paragraph {n} speaks of shelf {n * 7 % 101}, of its {n} boxes and who packed them."
        for n in range(200)
    ]
    before = chunks("\n\n".join(paragraphs), markdown=False, budget=64)
    after = chunks("\n\n".join(["A new first one.", *paragraphs]), markdown=False, budget=64)
    todo = plan(standing(before), after)
    assert len(before) > 50
    assert len(todo.kept) >= 0.85 * len(before)
