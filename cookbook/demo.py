"""The main job on a real conversation: remember, answer, correct, go back, share, forget, prove.
Then an agent with a small model of its own, whose memory goes from text to cache to weights.

    python cookbook/demo.py [--input FILE] [--ask "..."] [--model openai:gpt-5-mini] [--no-forms]

Nothing is left behind unless ``--db`` names a file. Without ``--model`` no language model is
used and none is needed: answers are quotes from memory.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

try:
    from demo_replay import (
        Correction,
        Replay,
        ReplayClock,
        correct,
        digest_cube,
        home,
        replay,
        start_of,
    )
    from demo_report import Report, day, many, plain, stored_ids
    from langgraph.graph import END, START, StateGraph
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from langgraph_memos import AnswerNode, MemoryState, RecallNode
except ImportError as error:
    sys.exit(f"the demo needs `pip install 'memos-integrations[cli,langgraph]'` ({error})")

from memos_integrations import MOS, Settings, errors
from memos_integrations.interface.conversations import Session, read_conversation

DATA = Path(__file__).parent / "data"
SAMPLE = DATA / "conversations.jsonl"
_ASKED = re.compile(r"[^.!?]+\?")
OTHER = "sam"
"""The person who is refused, let in and shut out again."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what the sample's author expects of it. ``None``: nothing is known."""

    text: str
    expected: str | None = None
    known: bool = False
    """Whether there is an expectation at all."""


@dataclass(slots=True)
class Demo:
    """What the sections share."""

    mos: MOS
    clock: ReplayClock
    report: Report
    user: str
    sessions: list[Session]
    questions: list[Question]
    answers: AnswerNode
    model: str | None
    """The name of the chat model; ``None`` when answers are quotes."""
    done: Replay


def main(argv: Sequence[str] | None = None, *, model: Any = None) -> int:
    """Run the demo; 0 when it went through. ``model`` is a chat model for tests and notebooks."""
    args = _arguments(argv)
    report = Report()
    try:
        _tell(args, report, model)
    except errors.MemosError as error:
        report.console.print(f"demo: {plain(str(error), 600)}", markup=False, style="red")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--input",
        type=Path,
        default=SAMPLE,
        help="a conversation: JSON Lines of role and content, a ChatGPT export, or LoCoMo JSON",
    )
    parser.add_argument("--ask", action="append", default=[], help="a question; may be repeated")
    parser.add_argument("--user", help="whose memory it is (default: who speaks most)")
    parser.add_argument("--model", help="a LangChain chat model, such as openai:gpt-5-mini")
    parser.add_argument("--db", type=Path, help="keep the memory in this file")
    parser.add_argument("--no-embed", action="store_true", help="find memories by words alone")
    parser.add_argument(
        "--no-forms", action="store_true", help="leave out the agent with a model of its own"
    )
    return parser.parse_args(argv)


def _tell(args: argparse.Namespace, report: Report, model: Any) -> None:
    sessions = read_conversation(args.input)
    answers = AnswerNode(model or args.model)
    named = args.model or (type(model).__name__ if model is not None else None)
    clock = ReplayClock(start_of(sessions))
    user, questions = _cast(args, sessions)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="memos-demo-"))
        mos = MOS(
            args.db or Path(folder) / "memory.db",
            embedder=None if args.no_embed else "default",
            clock=clock,
            settings=Settings(worker=False),
        )
        stack.callback(mos.close)
        demo = Demo(mos, clock, report, user, sessions, questions, answers, named, Replay())
        _opening(demo, args)
        for section in (_remember, _ask, _correction, _yesterday, _sharing, _forget, _proof):
            section(demo)
        if not args.no_forms:
            _forms(report)
        report.gap()
        where = f"The memory is kept in {args.db}." if args.db else "The memory was temporary."
        report.note(f"{where} Try --ask, --input and --db: see README.md.")


def _cast(args: argparse.Namespace, sessions: Sequence[Session]) -> tuple[str, list[Question]]:
    """Whose memory it is, and what will be asked."""
    asked = [Question(text) for text in args.ask]
    if args.input.resolve() == SAMPLE.resolve():
        told = json.loads((DATA / "questions.json").read_text(encoding="utf-8"))
        sample = [Question(q["question"], q["answer"], known=True) for q in told["questions"]]
        return args.user or told["user"], asked or sample
    speakers = Counter(t.name for s in sessions for t in s.turns if t.role == "user" and t.name)
    most = speakers.most_common(1)
    return args.user or (most[0][0].lower() if most else "you"), asked or _own_questions(sessions)


def _own_questions(sessions: Sequence[Session], most: int = 4) -> list[Question]:
    """Some of the questions people asked in the file, from its beginning to its end."""
    said = (turn.content for s in sessions for turn in s.turns if turn.role == "user")
    asked = [each.strip() for text in said for each in _ASKED.findall(plain(text, 10_000))]
    long = [each for each in asked if len(each.split()) > 4]
    step = max(1, len(long) // most)
    return [Question(plain(text, 200)) for text in long[::step][:most]]


# -- the sections -----------------------------------------------------------------------------


def _opening(demo: Demo, args: argparse.Namespace) -> None:
    report, stats = demo.report, demo.mos.stats(user=demo.user)
    report.console.rule("memos-integrations: the main job on a conversation", style="cyan")
    turns = sum(len(session.turns) for session in demo.sessions)
    report.say(
        "input", f"{args.input.name}: {many(len(demo.sessions), 'session')}, {many(turns, 'turn')}"
    )
    report.say("user", demo.user)
    if stats["embedder"]:
        report.say("search", f"by words and by meaning ({stats['embedder'].split('/')[0]}, local)")
    else:
        why = "as asked" if args.no_embed else "the embed extra is not installed"
        report.say("search", f"by words alone ({why})")
    if demo.model:
        report.say("answers", f"by the chat model {plain(demo.model, 60)}, from what was recalled")
    else:
        report.say("answers", "quotes from memory; no language model is used (--model adds one)")
    report.say(
        "clock",
        "follows the conversation: what the memory believed on a day is what had been said by then",
    )


def _remember(demo: Demo) -> None:
    report, began = demo.report, time.perf_counter()
    report.section(
        "Remember",
        "Every exchange runs through a LangGraph graph: recall -> answer "
        "-> remember. Recorded replies are kept as they are, not answered again.",
    )
    turns = sum(len(session.turns) for session in demo.sessions)
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=report.console, transient=True) as bar:
        task = bar.add_task("", total=turns)
        demo.done = replay(
            demo.mos,
            demo.sessions,
            user=demo.user,
            clock=demo.clock,
            progress=lambda session, n: bar.update(
                task, advance=n, description=plain(session.name, 30)
            ),
        )
    merged = _merged(demo)
    report.sessions(demo.done.fates, set(merged))
    report.gap()
    report.exceptions(demo.done.fates, merged)
    kept, seconds = demo.mos.count(user=demo.user), time.perf_counter() - began
    report.note(
        f"{kept} memories kept, {many(len(demo.done.digests), 'session digest')} made from them, "
        f"in {seconds:.1f} s."
    )


def _merged(demo: Demo) -> dict[str, str]:
    """Folded memory -> the memory that it repeats."""
    found: dict[str, str] = {}
    for item in stored_ids(demo.done):
        header = demo.mos.get(item, user=demo.user).header
        if header.merged_into:
            found[item] = header.merged_into
    return found


def _ask(demo: Demo) -> None:
    report, right = demo.report, 0
    report.section(
        "Ask", "recall -> answer, with the memories each answer rests on. Asking stores nothing."
    )
    for question in demo.questions:
        answer = _answer(demo, question.text, demo.mos)
        if question.known:
            met = _meets(answer, question)
            right += met
            expected = question.expected or "that nothing is known"
            report.say("expected", f"{expected} {'✓' if met else '✗'}", style="" if met else "red")
        report.gap()
    if any(question.known for question in demo.questions):
        limit = "" if demo.model else " Quoting finds the nearest sentence; it does not reason."
        report.note(f"{right} of {len(demo.questions)} as the sample expects.{limit}")


def _answer(demo: Demo, question: str, memory: Any) -> Any:
    """Ask one question of ``memory`` (now, or a view of the past) and print the answer."""
    graph = StateGraph(MemoryState)
    graph.add_node("recall", RecallNode(memory))
    graph.add_node("answer", demo.answers)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "answer")
    graph.add_edge("answer", END)
    config: Any = {"configurable": {"user_id": demo.user}}
    try:
        state = graph.compile().invoke({"messages": [("user", question)]}, config)
    except Exception as error:
        if demo.model is None or isinstance(error, errors.MemosError):
            raise
        raise errors.BackendUnavailable(f"the chat model did not answer: {error}") from error
    answer, recalled = state["answer"], {each["id"]: each for each in state["recalled"]}
    demo.report.answer(question, answer)
    for item in answer["rests_on"]:
        steps = memory.provenance(item, user=demo.user).steps
        demo.report.evidence(recalled[item], steps, words=answer["by"] == "model")
    return answer


def _meets(answer: Any, question: Question) -> bool:
    if question.expected is None:
        return answer["by"] == "nothing" or "not know" in answer["text"]
    return question.expected.lower() in answer["text"].lower()


def _correction(demo: Demo) -> None:
    report = demo.report
    report.section(
        "Correct",
        "A correction is a new version; what was derived from the old words "
        "turns stale and leaves every search.",
    )
    change = demo.done.corrections[-1] if demo.done.corrections else _own_correction(demo)
    if change is None:
        return
    report.correction(change)
    versions = demo.mos.history(change.item, user=demo.user)
    report.say(
        "versions", "; ".join(f"{v.version} {plain(v.reason, 30)} ({day(v.at)})" for v in versions)
    )
    for item in change.stale:
        text = demo.mos.get(item, user=demo.user).text
        report.say("now stale", plain(text, 90))


def _own_correction(demo: Demo) -> Correction | None:
    """The step the demo takes itself when no turn of the file asks for a correction."""
    hits = [h for q in demo.questions for h in demo.mos.search(q.text, user=demo.user, limit=3)]
    known = [hit.item for hit in hits] or demo.mos.list(user=demo.user, limit=3)
    telling = [item for item in known if not item.text.rstrip().endswith("?")]
    found = next(iter(telling or known), None)
    if found is None:
        demo.report.note("Nothing is stored, so there is nothing to correct.")
        return None
    demo.report.note("No turn asks for a correction, so the demo makes one, of its own making:")
    demo.clock.advance(seconds=86_400)
    text = f"{found.text} (No longer so: corrected by this demo.)"
    change = correct(demo.mos, found.id, text, demo.user, demo.clock)
    demo.done.corrections.append(change)
    demo.mos.wait()
    return change


def _yesterday(demo: Demo) -> None:
    if not demo.done.corrections or not demo.questions:
        return
    change = demo.done.corrections[-1]
    when = f"{change.at - timedelta(days=1):%Y-%m-%dT%H:%M}"
    demo.report.section(
        "Go back",
        f'as_of("{when}"), the day before the correction: every read is answered as it was.',
    )
    _answer(demo, _about(demo, change).text, demo.mos.as_of(when))


def _about(demo: Demo, change: Correction) -> Question:
    """The question that the corrected memory answers best."""

    def score(question: Question) -> float:
        hits = demo.mos.search(question.text, user=demo.user)
        return max((hit.score for hit in hits if hit.id == change.item), default=0.0)

    return max(demo.questions, key=score)


def _sharing(demo: Demo) -> None:
    report, mos, cube = demo.report, demo.mos, home(demo.user)
    other = OTHER if demo.user != OTHER else "kim"
    report.section(
        "Share",
        f"The memory belongs to {demo.user}. {other.capitalize()} tries to "
        "read it, is let in for an hour, and shut out again.",
    )
    mos.flush()  # reads are logged in batches; the refusal shall be the newest line
    _try_to_read(demo, other)
    denied = [line for line in mos.audit(user=demo.user, cube=cube) if line.outcome == "denied"]
    for line in denied[:1]:
        report.audit(line)
    mos.share(to=other, user=demo.user, ttl_seconds=3600)
    report.say("grant", f'share(to="{other}", ttl_seconds=3600)')
    _try_to_read(demo, other)
    masked = [i for i in mos.list(user=other, cube=cube, limit=1000) if i.header.redacted]
    for item in masked[:1]:
        report.say("masked", f"personal details stay hidden: “{plain(item.text, 90)}”")
    mos.revoke(to=other, user=demo.user)
    report.say("revoke", f'revoke(to="{other}")')
    _try_to_read(demo, other)


def _try_to_read(demo: Demo, other: str) -> None:
    question = demo.questions[0].text if demo.questions else "anything"
    try:
        hits = demo.mos.search(question, user=other, cube=home(demo.user), limit=1)
    except errors.AccessDenied as error:
        demo.report.say("refused", plain(str(error), 200), style="red")
    else:
        for hit in hits:
            demo.report.say("reads", f"“{plain(hit.text, 100)}”", style="green")


def _forget(demo: Demo) -> None:
    report, mos = demo.report, demo.mos
    report.section(
        "Forget",
        "Erase removes every version, whatever was derived from it, and the "
        "bytes on disk. Delete would have left history.",
    )
    item, said = _to_forget(demo)
    if item is None:
        return
    stored = mos.get(item, user=demo.user).text
    report.say("stored as", plain(stored, 160))
    before = {words: _files_holding(mos.path, words) for words in dict.fromkeys((stored, said))}
    receipt = mos.erase(item, user=demo.user, reason="asked to forget")
    report.say(
        "receipt",
        f"{len(receipt.erased)} memories erased, what was made from it included: "
        f"{receipt.counts['versions']} versions, {receipt.counts['vectors']} vectors; "
        f"audit line {receipt.audit_line}",
    )
    report.say("covers", "; ".join(receipt.covered))
    report.say("beyond", "; ".join(receipt.not_covered))
    for words, (held, files) in before.items():
        left, _ = _files_holding(mos.path, words)
        which = "as stored" if words == stored else "as said"
        report.say("raw files", f"the words {which}: in {held} of {files} before, in {left} after")


def _to_forget(demo: Demo) -> tuple[str | None, str]:
    """The memory to erase and the words it was said in."""
    if demo.done.forgets:
        asking, target = demo.done.forgets[-1]
        demo.report.say("asked", f"turn {asking.number}: “{plain(asking.turn.content, 90)}”")
        demo.report.say("rule", f"what they said just before: turn {target.number}")
        return target.written["id"], target.turn.content
    fates = [f for f in demo.done.fates if f.written["status"] == "stored"]
    if not fates:
        demo.report.note("Nothing is stored, so there is nothing to forget.")
        return None, ""
    demo.report.note(
        f"No turn asks to forget, so the demo forgets the last one, {fates[-1].number}."
    )
    return fates[-1].written["id"], fates[-1].turn.content


def _files_holding(path: str, words: str) -> tuple[int, int]:
    """How many files of the memory hold these words as raw bytes, and how many there are."""
    file = Path(path)
    files = [f for f in sorted(file.parent.rglob(f"{file.name}*")) if f.is_file()]
    needle = words.encode()
    return sum(needle in f.read_bytes() for f in files), len(files)


def _proof(demo: Demo) -> None:
    report = demo.report
    report.section(
        "Prove",
        "Who did and read what is a hash chain; the file is checked against its invariants.",
    )
    chain, check = demo.mos.audit_verify(), demo.mos.check()
    head = demo.mos.audit_head()
    report.say(
        "audit",
        f"{chain.entries} lines, {'intact' if chain.intact else 'BROKEN'}; "
        f"head {head['n']} is {head['hash'][:16]}…",
    )
    told = "sound" if check.sound else f"{len(check.findings)} findings"
    report.say(
        "check", f"{check.items} items, {check.versions} versions, {check.events} events: {told}"
    )
    stale = demo.mos.count(user=demo.user, cube=digest_cube(demo.user), filter={"stale": True})
    report.say("stale", f"{many(stale, 'digest')} left to be made anew")


def _forms(report: Report) -> None:
    """Memory as text, cache and weights, where the libraries for it are installed."""
    try:
        from demo_forms import three_forms  # noqa: PLC0415
    except ModuleNotFoundError as error:
        report.gap()
        report.note(f"Three forms: left out, as this needs the extra parametric ({error}).")
        return
    three_forms(report)


if __name__ == "__main__":
    sys.exit(main())
