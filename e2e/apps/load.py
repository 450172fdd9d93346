"""Sends requests at a steady rate and says how they went, as one JSON object.

usage: load.py URL --count N [--rate PER_SECOND] [--method GET] [--header NAME:VALUE]...

Latencies are in milliseconds and are counted from when a request was due, so that a service that stalls is not spared the rest.
"""

import argparse
import asyncio
import collections
import json
import time

import httpx


def at(sorted_values, share):
    return round(sorted_values[min(len(sorted_values) - 1, int(share * len(sorted_values)))], 3)


async def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("url")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--header", action="append", default=[])
    given = parser.parse_args()
    headers = [tuple(header.split(":", 1)) for header in given.header]
    statuses, latencies, errors = collections.Counter(), [], collections.Counter()

    async with httpx.AsyncClient(timeout=10, headers=headers) as client:

        async def one(due):
            try:
                answer = await client.request(given.method, given.url)
                statuses[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                errors[type(error).__name__] += 1
            latencies.append((time.perf_counter() - due) * 1000)

        start = time.perf_counter()
        tasks = []
        for index in range(given.count):
            due = start + index / given.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(due)))
        await asyncio.gather(*tasks)
    latencies.sort()
    failed = sum(errors.values()) + sum(count for status, count in statuses.items() if status >= "500")
    summary = {"sent": given.count, "failed": failed, "statuses": statuses, "errors": errors}
    print(json.dumps({**summary, "p50": at(latencies, 0.5), "p99": at(latencies, 0.99)}))


asyncio.run(main())
