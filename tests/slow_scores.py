"""The process of `drpt.data.reasoning_scores`, with a scorer that never returns from one answer."""

import time

from drpt.data import reasoning_scores
from drpt.timed_worker import serve


def handle(question):
    if question.get("text") == "sleep":
        time.sleep(60)
    return reasoning_scores._handle(question)


if __name__ == "__main__":
    serve(handle, reasoning_scores._prepare)
