"""Moving in: from `InMemoryStore`, from langmem's tools and from mem0, without losing a memory.

    python cookbook/07_moving_in.py

Needs `pip install 'memos-integrations[langgraph]'`. No network, no key.
"""

import json
import tempfile
from pathlib import Path

from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langgraph_memos import MemOSStore, memory_tools
from memos_integrations import MOS

PLANS = ("memories", "maya")
"""The namespace that langmem's tools write to, in its documentation's first example."""


def your_program(store: BaseStore) -> str:
    """Code that was written for LangGraph's store needs no change."""
    store.put(PLANS, "trip", {"content": "The trip to Oslo starts on 3 May"})
    (found,) = store.search(PLANS, filter={"content": {"$eq": "The trip to Oslo starts on 3 May"}})
    return f"{found.key}: {found.value['content']}"


before = InMemoryStore()
before.put(PLANS, "seat", {"content": "Maya prefers window seats"})

with MOS() as mos, tempfile.TemporaryDirectory() as folder:  # MOS("agent.db") keeps it
    # 1. The same code on another store.
    store = MemOSStore(mos, user="maya")
    print(your_program(before) == your_program(store))

    # 2. What InMemoryStore, or langmem through it, has kept: export the items, import the file.
    items = [
        {
            "namespace": list(item.namespace),
            "key": item.key,
            "value": item.value,
            "created_at": item.created_at.isoformat(),
            "updated_at": item.updated_at.isoformat(),
        }
        for item in before.search(())
    ]
    exported = Path(folder, "store.json")
    exported.write_text(json.dumps(items))
    # The same on the command line: memos import langgraph store.json --user maya --dry-run
    # What lies here already under the same name (the trip) is left as it is, and reported.
    print("To come:", mos.import_from("langgraph", exported, user="maya", dry_run=True).new)
    mos.import_from("langgraph", exported, user="maya")
    seat = store.get(PLANS, "seat")
    print("Came:", seat.value["content"] if seat else None)

    # 3. What mem0 has kept: the result of its get_all(), written to a file.
    told = {"id": "m1", "memory": "Allergic to peanuts", "user_id": "maya"}
    mem0 = Path(folder, "mem0.json")
    mem0.write_text(json.dumps({"results": [told | {"created_at": "2025-02-01T09:00:00Z"}]}))
    done = mos.import_from("mem0", mem0, user="maya")
    came = mos.get(done.ids[0], user="maya").header
    print("From mem0:", came.time.date(), came.origin.value, came.trust.value)
    print("Again:", mos.import_from("mem0", mem0, user="maya").unchanged)

    # 4. Everything is one memory now, found by one search and told apart by where it is from.
    for hit in mos.search("Which seat on the trip?", user="maya", limit=2):
        print("Found:", hit.item.data["content"], f"[{hit.item.header.source}]")

    # 5. Tools with the names of langmem's become these; whose memory it is comes from the run.
    print("Tools:", [tool.name for tool in memory_tools(mos)])
