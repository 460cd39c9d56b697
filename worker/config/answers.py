"""Answers to students' questions: a LangGraph graph that retrieves passages of the courses and answers from them."""

from functools import cache
from typing import TypedDict

from langgraph.graph import END, START, StateGraph

from config import answer_models, settings
from config.courses import Passage, index

PASSAGES = 3
MIN_SIMILARITY = 0.25  # below it, passages share no more than common words with the question
OF_BEST = 0.7  # a passage this much further away than the best one is about something else


class State(TypedDict, total=False):
    """What travels through the graph."""

    question: str
    passages: list[tuple[Passage, float]]
    answer: str


def retrieve(state: State) -> State:
    """Find the passages that are close enough to the question."""
    index.refresh()
    found = index.search(state["question"], PASSAGES)
    limit = max([MIN_SIMILARITY, *(OF_BEST * score for _, score in found)])
    return {"passages": [(passage, score) for passage, score in found if score >= limit]}


def respond(state: State) -> State:
    """Let the configured model answer from the passages."""
    return {"answer": answer_models.answer(state["question"], [passage for passage, _ in state["passages"]])}


def decline(_: State) -> State:
    """Say that the courses do not cover the question, rather than guess."""
    return {"answer": "The course material does not cover this question."}


@cache
def graph():
    """Return the compiled graph: retrieve, then respond or decline."""
    builder = StateGraph(State)
    builder.add_node("retrieve", retrieve)
    builder.add_node("respond", respond)
    builder.add_node("decline", decline)
    builder.add_edge(START, "retrieve")
    builder.add_conditional_edges("retrieve", lambda state: "respond" if state["passages"] else "decline")
    builder.add_edge("respond", END)
    builder.add_edge("decline", END)
    return builder.compile()


def ask(question: str) -> dict:
    """Answer `question`.

    Returns {"answer": str, "sources": [{"course", "section", "similarity"}], "model": str}.
    Raises answer_models.ModelUnavailable when asking again later may help, answer_models.ModelRefused when not.
    """
    state = graph().invoke({"question": question})
    sources = [
        {"course": passage.course, "section": passage.section, "similarity": round(score, 3)}
        for passage, score in state["passages"]
    ]
    return {"answer": state["answer"], "sources": sources, "model": ":".join(filter(None, settings.ANSWER_MODEL))}
