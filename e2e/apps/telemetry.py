"""For images that carry the SDK: tracing is on where an exporter's endpoint is configured, and costs nothing elsewhere.

Import it before anything that is to be instrumented.
"""

import os

if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
    from opentelemetry.instrumentation.auto_instrumentation import initialize

    # Traces only. What the environment says wins.
    for signal in ("METRICS", "LOGS"):
        os.environ.setdefault(f"OTEL_{signal}_EXPORTER", "none")
    initialize()

from opentelemetry import trace  # noqa: E402

tracer = trace.get_tracer("app")
