"""caretaker-mcp: takes webhooks, publishes them to a stream in Redis, and starts a Job for each one that comes out of it."""

import telemetry  # isort: skip  (first, so that what follows is instrumented)

import asyncio
import contextlib
import json
import logging
import os
import pathlib
import ssl

import httpx
from fastapi import FastAPI
from redis.exceptions import RedisError

import common

STREAM = "caretaker:events"
# Where the token and the namespace of the own account are mounted.
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
log = logging.getLogger("caretaker-mcp")
redis = common.redis()
finished = set()


def worker(delivery):
    """The Job for one delivery. The trace goes on in it: that is what TRACEPARENT is for."""
    carrier = common.carry({})
    environment = {
        "DELIVERY": delivery,
        "MCP": os.environ.get("MCP", "http://caretaker-mcp:8000"),
        "TRACEPARENT": carrier.get("traceparent", ""),
    }
    container = {
        "name": "worker",
        "image": os.environ["WORKER_IMAGE"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "caretaker_worker.py"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
    }
    labels = {"app": "caretaker-agent-worker"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"caretaker-agent-worker-{delivery}", "labels": labels},
        "spec": {
            "backoffLimit": 2,
            "template": {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}},
        },
    }


async def dispatch(delivery):
    namespace = (ACCOUNT / "namespace").read_text()
    headers = {"authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    async with httpx.AsyncClient(base_url="https://kubernetes.default.svc", headers=headers, verify=trusted) as client:
        answer = await client.post(f"/apis/batch/v1/namespaces/{namespace}/jobs", json=worker(delivery))
        answer.raise_for_status()


async def consume():
    last = "$"
    while True:
        try:
            for _, entries in await redis.xread({STREAM: last}, block=5000) or []:
                for last, fields in entries:
                    event = json.loads(fields[b"payload"])
                    with common.carried(event), telemetry.tracer.start_as_current_span("eventbus.consume webhook") as span:
                        span.set_attribute("caretaker.delivery_id", event["delivery"])
                        with telemetry.tracer.start_as_current_span("invoke_agent pr") as agent:
                            agent.set_attribute("gen_ai.agent.name", "pr")
                            await dispatch(event["delivery"])
                            log.info("delivery %s: dispatched", event["delivery"])
        except (RedisError, httpx.HTTPError) as error:
            log.warning("the event bus: %s", error)
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def lifespan(_):
    consumer = asyncio.create_task(consume())
    yield
    consumer.cancel()


app = FastAPI(lifespan=lifespan)


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.post("/webhooks/github/{delivery}")
async def webhook(delivery: str):
    with telemetry.tracer.start_as_current_span(f"eventbus.publish {STREAM}"):
        await redis.xadd(STREAM, {"payload": json.dumps(common.carry({"delivery": delivery}))})
    log.info("delivery %s: published", delivery)
    return {}


@app.post("/results/{delivery}")
async def result(delivery: str):
    finished.add(delivery)
    return {}


@app.get("/results/{delivery}")
async def look(delivery: str):
    return {"finished": delivery in finished}


if __name__ == "__main__":
    common.serve(app)
