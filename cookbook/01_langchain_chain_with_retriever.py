"""A LangChain chain that answers from memory: documents and what people said, found together.

    python cookbook/01_langchain_chain_with_retriever.py

Needs `pip install 'memos-integrations[langchain]'`. No network, no key: the model here is scripted.
"""

from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from langchain_memos import MemOSRetriever
from memos_integrations import MOS

HANDBOOK = """
# Leave
Staff have 27 days of leave a year, part-timers in proportion to their days.

# Travel
Trains before planes. Book through the travel desk.
"""

# Put a model of yours here: init_chat_model("openai:gpt-5-mini"), say.
model = FakeListChatModel(responses=["16 days: 27 days in proportion to three days of five."])
prompt = ChatPromptTemplate.from_template(
    "Answer from what is known, and from nothing else.\n\n{known}\n\nQuestion: {question}"
)


def as_lines(documents: list[Document]) -> str:
    """What the model is to know, one memory a line, each with where it comes from."""
    return "\n".join(
        f"- {' '.join(d.page_content.split())} [{d.metadata['source']}]" for d in documents
    )


with MOS() as mos:  # MOS("agent.db") keeps it
    mos.ingest(HANDBOOK, name="handbook.md", user="maya")
    mos.add("I work three days a week.", user="maya", session="monday")
    mos.add("I work five days a week.", user="sam", session="monday")

    retriever = MemOSRetriever(memory=mos, k=4)
    question = RunnablePassthrough()
    known = retriever | as_lines
    chain = {"known": known, "question": question} | prompt | model | StrOutputParser()

    # Who asks comes with each call, so one chain serves everybody.
    maya = {"configurable": {"user_id": "maya"}}
    ask = "How many days of leave do I have a year, working three days a week?"
    print("What the model is given for Maya:")
    print(known.invoke(ask, maya))
    print("Its answer:", chain.invoke(ask, maya))

    # A hit knows why it was found and where it is from.
    best = MemOSRetriever(memory=mos, user="maya", k=1, explain=True).invoke("days of leave")[0]
    print("Best for 'days of leave':", best.metadata["source"], "-", best.metadata["trust"])
    print("Why:", best.metadata["why"].split(";")[0])

    # Filters are data.
    documents = retriever.invoke("days", maya, filter={"memory_type": "document"})
    print("Documents only:", sorted({d.metadata["source"] for d in documents}))
