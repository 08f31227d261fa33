"""Who may ask: host names, tokens, requests of other sites; and the headers of every answer."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from collection.serve.limits import App, Message, Receive, Send, refusal, refuse

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN = frozenset({"/", "/page.css", "/page.js", "/health", "/openapi.json", "/session"})  # hold no secret
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
COOKIE = "delg_session"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """Who may use the service.

    Attributes:
      token: what clients have to send; None for nothing.
      names: host names that requests may be for.
      any_address: whether they may be for any IP address, too: that of a name of a stranger is no address.
    """

    def __init__(self, host: str, token: str | None, names: Iterable[str] = ()):
        """Takes the address that the service listens at, the token, and further names of the service."""
        self.token, self.any_address = token, not is_loopback(host)
        self.names = {name.lower() for name in (*names, host, *LOOPBACK)}

    @property
    def session(self) -> str:
        """What the cookie of the page holds: it follows from the token, and the token does not follow from it."""
        return hmac.new((self.token or "").encode(), b"session of the page", hashlib.sha256).hexdigest()

    def knows_host(self, header: str) -> bool:
        """Whether a request is for this service: a page of a stranger whose name leads here is for that name."""
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if name in self.names:
            return True
        try:
            return self.any_address and bool(ipaddress.ip_address(name))
        except ValueError:
            return False

    def is_token(self, text: str) -> bool:
        """Whether a text is the token; takes as long for every wrong one."""
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    def admits(self, headers: Headers) -> bool:
        """Whether a request has the token, or the cookie of the page."""
        if self.token is None:
            return True
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(token.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.session.encode())


def of_other_site(method: str, path: str, headers: Headers) -> bool:
    """Whether a browser sends a request for a page of another site; following a link to the page is allowed."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if method in SAFE and path == "/" and headers.get("sec-fetch-mode") == "navigate":
        return False
    if site is not None and site not in ("same-origin", "none"):
        return True
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


class Guarded:
    """Refuses requests that may not ask, and sets the headers of all answers."""

    def __init__(self, app: App, access: Access):
        self._app, self._access = app, access

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]  # type: ignore[arg-type]

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                answer.setdefault("Cache-Control", "no-store")
            await send(message)

        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            answer = refusal(421, "This service does not answer under that host name; --names of delg serve adds one.")
        elif of_other_site(scope["method"], path, headers):
            answer = refusal(403, "The service takes no requests from pages of other sites.")
        elif path not in OPEN and not self._access.admits(headers):
            answer = refusal(
                401, "The service needs its token: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"}
            )
        else:
            await self._app(scope, receive, secured)
            return
        await refuse(answer, receive, secured)
