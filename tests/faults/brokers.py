"""A broker within the process, whose tasks are worked off after each request."""

from __future__ import annotations

import queue
import uuid
from typing import Any

from flask import Flask, Response

from ..celery_worker import by_celery, celery_of


def by_celery_in_memory() -> dict[str, Any]:
    """What ``make_site`` needs: a mail passes through the broker, and is sent when the request has
    been answered."""
    name = str(uuid.uuid4())

    def begin(app: Flask) -> None:
        celery = celery_of(app, broker_url="memory://", task_default_queue=name)

        def work_off(reply: Response) -> Response:
            with celery.connection_for_read() as connection:
                tasks = connection.SimpleQueue(name)
                while True:
                    try:
                        message = tasks.get(block=False)
                    except queue.Empty:
                        return reply
                    arguments, _, _ = message.decode()
                    celery.tasks[message.headers["task"]].run(*arguments)
                    message.ack()

        app.after_request(work_off)

    return {**by_celery(), "before": begin}
