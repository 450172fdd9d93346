"""caretaker-agent-worker: the work of one delivery, in a Job of its own. The trace comes in the variable TRACEPARENT."""

import telemetry  # isort: skip  (first, so that what follows is instrumented)

import logging
import os

import httpx

import common

common.log_as_json()
log = logging.getLogger("caretaker-agent-worker")
delivery = os.environ["DELIVERY"]
with common.carried({"traceparent": os.environ.get("TRACEPARENT", "")}):
    with telemetry.tracer.start_as_current_span("agent.run") as span:
        span.set_attribute("caretaker.delivery_id", delivery)
        log.info("delivery %s: at work", delivery)
        httpx.post(f"{os.environ['MCP']}/results/{delivery}", timeout=10).raise_for_status()
