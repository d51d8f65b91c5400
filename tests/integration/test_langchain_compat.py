"""Memory behind the interfaces that LangChain has deprecated, as long as they are there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="the langchain extra is not installed")

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from langchain_memos import MemOSChatMessageHistory
from memos_integrations import MOS, Settings, errors

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mos(tmp_path: Path) -> Iterator[MOS]:
    settings = Settings(worker=False, synchronous="normal")
    with MOS(tmp_path / "memory.db", embedder=None, settings=settings) as opened:
        yield opened


def history(mos: MOS, session: str = "s1", **made_with: Any) -> MemOSChatMessageHistory:
    return MemOSChatMessageHistory(session, mos=mos, user=made_with.pop("user", "alice"))


CALL = {"name": "clock", "args": {"zone": "Oslo"}, "id": "c1", "type": "tool_call"}
MESSAGES = [
    SystemMessage("Be brief."),
    HumanMessage("What time is it?", name="Maya", id="m1"),
    AIMessage("", tool_calls=[CALL], response_metadata={"model": "x"}),
    ToolMessage("noon", tool_call_id="c1", artifact={"n": [1, 2]}),
    AIMessage([{"type": "text", "text": "Noon."}], additional_kwargs={"why": "clock"}),
    HumanMessage("What time is it?"),
]


def test_transcript_comes_back_whole_and_in_order(mos: MOS) -> None:
    kept = history(mos)
    kept.add_messages(MESSAGES[:3])
    kept.add_messages(MESSAGES[3:])
    mos.wait()
    assert kept.messages == MESSAGES
    assert history(mos).messages == MESSAGES


def test_sessions_and_users_are_apart(mos: MOS) -> None:
    history(mos).add_user_message("I play chess.")
    assert history(mos, "s2").messages == []
    assert history(mos, user="bob").messages == []


def test_messages_with_words_become_memories_of_their_session(mos: MOS) -> None:
    history(mos).add_messages(MESSAGES)
    kept = {(item.text, item.header.conversation) for item in mos.list(user="alice")}
    assert kept == {("What time is it?", "s1"), ("Noon.", "s1")}


def test_clear_empties_the_transcript_and_leaves_what_was_remembered(mos: MOS) -> None:
    kept = history(mos)
    kept.add_user_message("I play chess.")
    kept.clear()
    assert kept.messages == []
    assert [hit.text for hit in mos.search("chess", user="alice")] == ["I play chess."]


def test_erasing_the_session_takes_the_transcript_along(mos: MOS) -> None:
    history(mos).add_user_message("I play chess in Oslo.")
    receipt = mos.erase(source="session:s1", user="alice")
    assert receipt.scan.found == 0
    assert history(mos).messages == []
    assert mos.count(user="alice") == 0


def test_message_that_json_cannot_carry_is_refused_and_none_is_kept(mos: MOS) -> None:
    kept = history(mos)
    odd = HumanMessage("Odd.", additional_kwargs={"x": object()})
    with pytest.raises(errors.InvalidInput):
        kept.add_messages([HumanMessage("Good."), odd])
    assert kept.messages == []
    assert mos.count(user="alice") == 0


async def test_both_halves_keep_the_same(mos: MOS) -> None:
    kept = history(mos)
    await kept.aadd_messages(MESSAGES)
    assert await kept.aget_messages() == kept.messages == MESSAGES
    await kept.aclear()
    assert kept.messages == []


@pytest.mark.filterwarnings("ignore:.*RunnableWithMessageHistory.*")
def test_runnable_with_message_history_goes_on_where_it_was(mos: MOS) -> None:
    from langchain_core.runnables.history import RunnableWithMessageHistory

    prompt = ChatPromptTemplate.from_messages(
        [MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chain = RunnableWithMessageHistory(
        prompt | FakeListChatModel(responses=["Hello Maya.", "You are Maya."]),
        lambda session: history(mos, session),
        input_messages_key="question",
        history_messages_key="history",
    )
    config: Any = {"configurable": {"session_id": "s9"}}
    chain.invoke({"question": "I am Maya."}, config)
    chain.invoke({"question": "Who am I?"}, config)
    assert [str(m.text) for m in history(mos, "s9").messages] == [
        *("I am Maya.", "Hello Maya.", "Who am I?", "You are Maya."),
    ]


# -- BaseMemory ----------------------------------------------------------------------------------


@pytest.fixture
def classic() -> Any:
    pytest.importorskip("langchain_classic", reason="langchain-classic is not installed")
    from langchain_memos import MemOSClassicMemory

    return MemOSClassicMemory


def test_turns_are_saved_and_found_for_a_later_question(mos: MOS, classic: Any) -> None:
    memory = classic(mos=mos, user="alice", session="s1")
    memory.save_context({"input": "I play chess."}, {"output": "Noted."})
    later = classic(mos=mos, user="alice", session="s2")
    block = later.load_memory_variables({"input": "What do I play?"})
    assert list(block) == later.memory_variables == ["memory"]
    assert "I play chess." in block["memory"]
    assert classic(mos=mos, user="bob").load_memory_variables({"input": "chess?"}) == {"memory": ""}


def test_keys_of_a_turn_can_be_named(mos: MOS, classic: Any) -> None:
    memory = classic(mos=mos, user="alice", input_key="q", output_key="a", memory_key="known")
    memory.save_context({"q": "I play chess.", "lang": "en"}, {"a": "Noted.", "tokens": "3"})
    assert sorted(i.text for i in mos.list(user="alice")) == ["I play chess.", "Noted."]
    assert "chess" in memory.load_memory_variables({"q": "chess?", "lang": "en"})["known"]
    with pytest.raises(errors.UsageError, match="input_key"):
        classic(mos=mos).save_context({"q": "x", "lang": "en"}, {"a": "y"})


def test_clear_deletes_what_the_session_said_and_nothing_else(mos: MOS, classic: Any) -> None:
    for session in ("s1", "s2"):
        classic(mos=mos, user="alice", session=session).save_context(
            {"input": f"I play chess in {session}."}, {"output": "Noted."}
        )
    classic(mos=mos, user="alice", session="s1").clear()
    assert {i.header.conversation for i in mos.list(user="alice")} == {"s2"}
    with pytest.raises(errors.UsageError, match="session"):
        classic(mos=mos, user="alice").clear()


async def test_classic_memory_works_asynchronously(mos: MOS, classic: Any) -> None:
    memory = classic(mos=mos, user="alice")
    await memory.asave_context({"input": "I play chess."}, {"output": "Noted."})
    assert "chess" in (await memory.aload_memory_variables({"input": "chess?"}))["memory"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_classic_chain_is_given_its_memory(mos: MOS, classic: Any) -> None:
    from langchain_classic.chains import LLMChain
    from langchain_core.language_models.fake import FakeListLLM
    from langchain_core.prompts import PromptTemplate

    mos.add("I play chess.", user="alice")
    seen: list[str] = []

    class Listening(FakeListLLM):
        def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
            seen.append(prompt)
            return super()._call(prompt, *args, **kwargs)

    prompt = PromptTemplate.from_template("{memory}\n\n{input}")
    memory = classic(mos=mos, user="alice")
    chain = LLMChain(llm=Listening(responses=["Chess."]), prompt=prompt, memory=memory)
    chain.invoke({"input": "What do I play?"})
    assert "I play chess." in seen[0]
    assert "Chess." in {item.text for item in mos.list(user="alice")}


@pytest.mark.slow
def test_without_langchain_classic_the_shim_says_which_extra_is_missing() -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'langchain_classic':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'adapters')!r}]\n"
        "from langchain_memos import *\n"
        "assert MemOSChatMessageHistory and MemOSMiddleware\n"
        "print('all but the shim')\n"
        "from langchain_memos import MemOSClassicMemory\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "all but the shim\n"
    assert "MissingExtra" in done.stderr
    assert "memos-integrations[classic]" in done.stderr
