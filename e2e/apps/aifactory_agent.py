"""An agent: a process of its own in the trace of the one that started it, by the variable TRACEPARENT."""

import telemetry  # isort: skip  (first, so that what follows is instrumented)

import json
import os

import common

with common.carried({"traceparent": os.environ.get("TRACEPARENT", "")}):
    with telemetry.tracer.start_as_current_span("task:phase:coding") as span:
        print(json.dumps({"trace_id": format(span.get_span_context().trace_id, "032x")}))
