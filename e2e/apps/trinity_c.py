"""Agent C: takes work from the queue in Redis, in the trace that it came from, and tells agent A."""

import asyncio
import contextlib
import json
import logging
import os

import httpx
from fastapi import FastAPI
from redis.exceptions import RedisError

import common

A = os.environ.get("AGENT_A", "http://agent-a:8000")
log = logging.getLogger("agent-c")
client = httpx.AsyncClient(timeout=10)
redis = common.redis()


async def consume():
    while True:
        try:
            found = await redis.blpop(["work"], timeout=5)
            if found is None:
                continue
            message = json.loads(found[1])
            with common.carried(message):
                log.info("task %s: worked", message["task"])
                await redis.incr("worked")
                (await client.post(f"{A}/results/{message['task']}")).raise_for_status()
        except (RedisError, httpx.HTTPError) as error:
            log.warning("trying again: %s", error)
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


if __name__ == "__main__":
    common.serve(app)
