"""What the applications share: JSON logs, trace context in messages, and a way to run.

Nothing here needs OpenTelemetry. Where it is, because somebody injected it, the logs carry ids and messages carry context.
"""

import json
import logging
import os
import sys

import uvicorn

try:
    from opentelemetry import context, propagate
except ImportError:  # an image without an SDK, and nothing injected
    context = propagate = None


class Json(logging.Formatter):
    """One object a line. The logging instrumentation sets otelTraceID and otelSpanID, "0" outside of spans."""

    def format(self, record):
        line = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        for field, attribute in (("trace_id", "otelTraceID"), ("span_id", "otelSpanID")):
            value = getattr(record, attribute, "0")
            if value != "0":
                line[field] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json():
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Json())
    # By force: what instruments may have set up a format of its own before.
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def carry(message):
    """The message with the context of the current span in it."""
    if propagate is not None:
        propagate.inject(message)
    return message


class carried:
    """with carried(message): what happens in here belongs to the trace that the message came from."""

    def __init__(self, message):
        self.message = message

    def __enter__(self):
        if context is not None:
            self.token = context.attach(propagate.extract(self.message))

    def __exit__(self, *_):
        if context is not None:
            context.detach(self.token)


def redis():
    from redis.asyncio import Redis

    return Redis.from_url(os.environ.get("REDIS_URL", "redis://redis:6379/0"))


def serve(app):
    """Serves until SIGTERM."""
    log_as_json()
    uvicorn.run(app, host="0.0.0.0", port=int(os.environ.get("PORT", "8000")), log_config=None, access_log=False)
