"""Numbers of the service in the text format of Prometheus."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from itertools import accumulate

from collection.serve.limits import App, Message, Receive, Send

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.4, 0.7, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Metrics:
    """Counts and times of requests. Only the thread of the event loop changes them."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self.answers: Counter[tuple[str, str, int]] = Counter()
        self.seconds: dict[str, float] = {}
        self.within: dict[str, list[int]] = {}
        self.in_progress = 0

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        self.answers[method, route, status] += 1
        self.seconds[route] = self.seconds.get(route, 0.0) + seconds
        self.within.setdefault(route, [0] * (len(BOUNDS) + 1))[bisect_left(BOUNDS, seconds)] += 1

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All numbers.

        Args:
          gauges: further values by name: what they are, and the value.
        """
        lines = ["# HELP delg_requests_total Answers.", "# TYPE delg_requests_total counter"]
        for (method, route, status), number in sorted(self.answers.items()):
            lines.append(f'delg_requests_total{{method="{method}",route="{route}",status="{status}"}} {number}')
        lines += ["# HELP delg_request_seconds Time of a request.", "# TYPE delg_request_seconds histogram"]
        for route, counts in sorted(self.within.items()):
            for bound, number in zip((*map(str, BOUNDS), "+Inf"), accumulate(counts)):
                lines.append(f'delg_request_seconds_bucket{{route="{route}",le="{bound}"}} {number}')
            lines.append(f'delg_request_seconds_sum{{route="{route}"}} {self.seconds[route]:.6f}')
            lines.append(f'delg_request_seconds_count{{route="{route}"}} {sum(counts)}')
        for name, (what, value) in gauges.items():
            lines += [f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


class Measured:
    """Counts and times requests, by the pattern of their path, so that no client can make names."""

    def __init__(self, app: App, metrics: Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 499, time.perf_counter()  # 499: no answer was begun

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_progress += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            self._metrics.in_progress -= 1
            route = scope["route"].path if "route" in scope else "other"
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
            self._metrics.add(method, route, status, time.perf_counter() - start)
