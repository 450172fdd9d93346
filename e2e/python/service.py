"""A service under load that traces itself: for what happens to it when its collector does not answer.

Requests come at a fixed pace over HTTP from a thread of this program; each makes three spans. Prints twice a second what it
has seen so far, as one JSON object a line: requests served, requests that failed, exceptions anywhere else, and a clock.
The exporter is configured as everywhere else, by OTEL_EXPORTER_OTLP_ENDPOINT.
"""

import http.client
import http.server
import json
import sys
import threading
import time

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

PACE = 50  # requests a second

seen = {"served": 0, "failed": 0, "exceptions": 0}
sys.excepthook = lambda *error: seen.update(exceptions=seen["exceptions"] + 1) or sys.__excepthook__(*error)
threading.excepthook = lambda error: seen.update(exceptions=seen["exceptions"] + 1) or threading.__excepthook__(error)

provider = TracerProvider(resource=Resource.create({"k8s.namespace.name": "shop"}))
# Small and quick, so that the queue is full within the time of a test.
provider.add_span_processor(
    BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=64, max_export_batch_size=32, schedule_delay_millis=200)
)
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("service")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        with tracer.start_as_current_span("GET /work", kind=trace.SpanKind.SERVER) as span:
            span.set_attribute("http.route", "/work")
            for step in ("query", "render"):
                with tracer.start_as_current_span(step):
                    pass
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def load(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    due = time.monotonic()
    while True:
        # What was missed is not made up for: a request that is held up has to show.
        due = max(due + 1 / PACE, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            connection.request("GET", "/work")
            answer = connection.getresponse()
            answer.read()
            seen["served" if answer.status == 200 else "failed"] += 1
        except (OSError, http.client.HTTPException):
            connection.close()
            seen["failed"] += 1


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=load, args=[server.server_address[1]], daemon=True).start()
    while True:
        time.sleep(0.5)
        print(json.dumps({**seen, "seconds": time.monotonic()}), flush=True)


main()
