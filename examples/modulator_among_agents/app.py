"""A modulator among somebody's agents: who becomes aware of what was said, and acts on it next.

    cd examples/modulator_among_agents && langgraph dev

The agents here are plain functions; put yours in their place. Input: `{"messages": [{"role":
"user", "content": "The oven smokes."}]}`. The model that routes is named in ROUTER
(openai:gpt-4.1-mini by default) and asked at OPENAI_BASE_URL, or OpenAI's own server.
"""

from __future__ import annotations

import os
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph

from matrix_graph import Context, ModulatedState, add_modulator

AGENTS = {
    "baker": "bakes for the street, and smells smoke before anybody",
    "sweep": "the chimney sweep next door, who is seldom at home",
    "clerk": "writes down for the town what is broken",
}


def agent(name: str) -> Any:
    """An agent that answers what it heard last."""

    def speak(state: ModulatedState) -> dict[str, Any]:
        heard = state["messages"][-1].text if state["messages"] else "nothing"
        return {"messages": [AIMessage(f"The {name} heard: {heard}", name=name)]}

    return speak


builder = StateGraph(ModulatedState)
for name in AGENTS:
    builder.add_node(name, agent(name))
builder.add_edge(START, "modulator")
add_modulator(
    builder,
    AGENTS,
    context=Context(
        model=os.environ.get("ROUTER", "openai:gpt-4.1-mini"),
        embeddings="none",
        base_url=os.environ.get("OPENAI_BASE_URL"),
    ),
    steps=2,
)
