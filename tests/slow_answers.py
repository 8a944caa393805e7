"""A process for tests of `drpt.timed_worker`: it says what it is told to, after doing what it is told to."""

import os
import time

from drpt.timed_worker import serve


def handle(question):
    if "print" in question:
        print(question["print"])  # noqa: T201
    if "bytes" in question:
        bytearray(question["bytes"])
    if "exit" in question:
        os._exit(question["exit"])
    time.sleep(question.get("sleep", 0))
    return question["say"]


if __name__ == "__main__":
    serve(handle, lambda: None)
