"""The Instagram stand-in's application: routes of the Graph API, and a few to steer it.

Faults are planned by these call names: `create_container`, `container_status`, `media_publish`,
`list_media`, `list_stories`, `create_comment`, `list_comments`, `media`, `publishing_limit`, `me`, and those
of `logins`. Steering, under the sandbox's bearer: `GET|POST /sandbox/accounts`,
`GET|POST /sandbox/behaviour`, `POST /sandbox/foreign_posts`, `GET /sandbox/errors`; those of `logins`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.instagram.behaviour import Behaviour
from persona_tui.sandbox.instagram.comments import Comments
from persona_tui.sandbox.instagram.containers import Containers
from persona_tui.sandbox.instagram.errors import ERRORS, Refused, graph_error, refused
from persona_tui.sandbox.instagram.fields import pick
from persona_tui.sandbox.instagram.logins import Logins
from persona_tui.sandbox.instagram.pictures import make_fetcher
from persona_tui.sandbox.instagram.publishing import Publishing
from persona_tui.sandbox.instagram.store import Account, Media, Store
from persona_tui.sandbox.instagram.tokens import called_with, caller

Handler = Callable[[Request, dict[str, Any]], Awaitable[dict[str, Any]]]


class NewAccount(BaseModel):
    """A professional account to add."""

    model_config = ConfigDict(extra="forbid")

    ig_user_id: str = Field(pattern=r"^[0-9]{5,32}$")
    username: str = Field(min_length=1, max_length=30)
    is_me: bool = False


class PhonePost(BaseModel):
    """What the owner's phone publishes."""

    model_config = ConfigDict(extra="forbid")

    ig_user_id: str
    caption: str | None = None
    alt_text: str | None = None
    product: Literal["FEED", "REELS", "STORY"] = "FEED"
    is_ai_generated: bool = False
    count: int = Field(default=1, ge=1, le=1000)


def create_app(context: SandboxContext) -> Starlette:
    """Graph's routes, with and without a version in front."""
    store = Store(context.state_dir / "instagram.sqlite")
    fetcher = make_fetcher()
    containers = Containers(context, store, fetcher)
    graph = _Graph(context, store, containers, Publishing(context, store, containers), Logins(context, store))
    graph.publishing.note_missed()
    context.faults.error_body = graph_error(1).body()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await fetcher.aclose()
        graph.logins.tokens.close()
        store.close()

    routes = graph.routes()
    versioned = Mount("/v{major:int}.{minor:int}", routes=routes)
    app = Starlette(routes=[*_steering(graph), versioned, *routes], lifespan=lifespan)
    app.state.unauthorized = lambda _reason: Refused(graph_error(190)).response()
    app.state.lets_in = graph.logins.lets_in
    return app


class _Graph:
    """Binds each route to its call, its faults and the usage headers."""

    def __init__(
        self,
        context: SandboxContext,
        store: Store,
        containers: Containers,
        publishing: Publishing,
        logins: Logins,
    ) -> None:
        self.context = context
        self.store = store
        self.containers = containers
        self.publishing = publishing
        self.comments = Comments(context, store)
        self.logins = logins

    def routes(self) -> list[BaseRoute]:
        account = "/{ig_user_id:str}"
        return [
            *self._login_routes(),
            Route("/me", self._endpoint("me", self._me), methods=["GET"]),
            Route(f"{account}/media", self._endpoint("create_container", self._create), methods=["POST"]),
            Route(f"{account}/media", self._endpoint("list_media", self._listing), methods=["GET"]),
            Route(f"{account}/stories", self._endpoint("list_stories", self._stories), methods=["GET"]),
            Route(
                "/{media_id:str}/comments", self._endpoint("create_comment", self._comment), methods=["POST"]
            ),
            Route(
                "/{media_id:str}/comments", self._endpoint("list_comments", self._remarks), methods=["GET"]
            ),
            Route(
                f"{account}/media_publish", self._endpoint("media_publish", self._publish), methods=["POST"]
            ),
            Route(
                f"{account}/content_publishing_limit",
                self._endpoint("publishing_limit", self._limit),
                methods=["GET"],
            ),
            Route("/{node_id:str}", self._node, methods=["GET"]),
        ]

    def _login_routes(self) -> list[BaseRoute]:
        logins = self.logins
        calls: list[tuple[str, str, Handler, str]] = [
            ("/oauth/access_token", "exchange_code", logins.code_for_token, "GET POST"),
            ("/access_token", "exchange_token", logins.lengthen, "GET"),
            ("/refresh_access_token", "refresh_access_token", logins.refresh, "GET"),
            ("/debug_token", "debug_token", logins.debug, "GET"),
            ("/me/accounts", "me_accounts", logins.pages, "GET"),
        ]
        return [
            Route("/oauth/authorize", logins.authorize, methods=["GET"]),
            Route("/dialog/oauth", logins.authorize, methods=["GET"]),
            *(
                Route(path, self._endpoint(call, handler), methods=methods.split())
                for path, call, handler, methods in calls
            ),
        ]

    def _endpoint(self, call: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            return await self._answer(call, handler, request)

        return endpoint

    async def _answer(self, call: str, handler: Handler, request: Request) -> Response:
        asked = await _parameters(request)
        token = self.logins.token_of(request)

        async def effect() -> Response:
            try:
                if token is not None:
                    owner = request.path_params.get("ig_user_id")
                    self.logins.check(token, call, owner, asked.get("appsecret_proof"))
                with called_with(token):
                    return JSONResponse(await handler(request, asked))
            except Refused as refusal:
                return refusal.response()

        response = await self.context.faults.around(call, effect)
        for name, value in self._usage(request).items():
            response.headers[name] = value
        return response

    def _usage(self, request: Request) -> dict[str, str]:
        behaviour = self.store.behaviour()
        figures = dict.fromkeys(("call_count", "total_cputime", "total_time"), behaviour.usage_percent)
        business = {
            "type": "instagram",
            **figures,
            "estimated_time_to_regain_access": behaviour.regain_minutes,
        }
        owner = str(request.path_params.get("ig_user_id", "0"))
        return {
            "X-App-Usage": json.dumps(figures),
            "X-Business-Use-Case-Usage": json.dumps({owner: [business]}),
        }

    def _account(self, request: Request) -> Account:
        account = self.store.account(request.path_params["ig_user_id"])
        if account is None:
            raise refused(100, 33)
        return account

    async def _me(self, _request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        token, fields = caller(), asked.get("fields")
        if token is None:
            return _account_node(next(one for one in self.store.accounts() if one.is_me), fields)
        account = self.store.account(token.ig_user_ids[0])
        if account is None:
            raise refused(100, 33)
        return self.logins.me(token, fields) or _account_node(account, fields)

    async def _create(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return await self.containers.create(self._account(request).ig_user_id, asked)

    async def _publish(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.publishing.publish(self._account(request).ig_user_id, asked)

    async def _listing(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.publishing.listing(self._account(request), asked)

    async def _stories(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.publishing.stories(self._account(request), asked)

    async def _comment(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.comments.create(*self._item(request), asked)

    async def _remarks(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.comments.listing(self._item(request)[0], asked)

    def _item(self, request: Request) -> tuple[Media, Account]:
        item = self.store.media(request.path_params["media_id"])
        account = self.store.account(item.ig_user_id) if item is not None else None
        if item is None or account is None:
            raise refused(100, 33)
        return item, account

    async def _limit(self, request: Request, asked: dict[str, Any]) -> dict[str, Any]:
        return self.publishing.limit(self._account(request), asked)

    async def _node(self, request: Request) -> Response:
        """`GET /{id}`: containers, media and accounts share one space of ids."""
        node_id = request.path_params["node_id"]
        container, item = self.store.container(node_id), self.store.media(node_id)
        token = self.logins.token_of(request)

        async def read(_request: Request, asked: dict[str, Any]) -> dict[str, Any]:
            fields = asked.get("fields")
            if container is not None:
                return self.containers.node(container, fields)
            account = self.store.account(item.ig_user_id if item is not None else node_id)
            if account is None or (token is not None and account.ig_user_id not in token.ig_user_ids):
                raise refused(100, 33)
            return self.publishing.node(item, account, fields) if item else _account_node(account, fields)

        return await self._answer("container_status" if container else "media", read, request)


def _account_node(account: Account, fields: str | None) -> dict[str, Any]:
    known: Mapping[str, Callable[[], Any]] = {
        # With Instagram Login the app's own id of the user, which is not the id to publish with.
        "id": lambda: account.ig_user_id if _by_facebook() else f"9{account.ig_user_id}",
        "user_id": lambda: account.ig_user_id,
        "username": lambda: account.username,
        "account_type": lambda: "MEDIA_CREATOR",
    }
    return pick(fields, known, "IGUser")


def _by_facebook() -> bool:
    token = caller()
    return token is not None and token.login == "facebook"


async def _parameters(request: Request) -> dict[str, Any]:
    """Query, form and JSON body, the later winning."""
    asked: dict[str, Any] = dict(request.query_params)
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json"):
        try:
            told = await request.json()
        except ValueError:
            told = None
        return asked | told if isinstance(told, dict) else asked
    if kind.startswith("application/x-www-form-urlencoded"):
        body = (await request.body()).decode("utf-8", "replace")
        asked |= dict(parse_qsl(body, keep_blank_values=True))
    return asked


def _steering(graph: _Graph) -> list[Route]:
    store = graph.store

    async def accounts(request: Request) -> Response:
        if request.method == "POST":
            account = NewAccount.model_validate(await request.json())
            store.add_account(account.ig_user_id, account.username, is_me=account.is_me)
        return JSONResponse([asdict(account) for account in store.accounts()])

    async def behaviour(request: Request) -> Response:
        if request.method == "POST":
            changes = await request.json()
            store.set_behaviour(Behaviour.model_validate({**store.behaviour().model_dump(), **changes}))
        return JSONResponse(store.behaviour().model_dump(mode="json"))

    async def foreign_posts(request: Request) -> Response:
        post = PhonePost.model_validate(await request.json())
        ids = [
            graph.publishing.post_by_phone(
                post.ig_user_id,
                caption=post.caption,
                alt_text=post.alt_text,
                product=post.product,
                is_ai_generated=post.is_ai_generated,
            )
            for _ in range(post.count)
        ]
        return JSONResponse({"ids": ids})

    async def errors(_request: Request) -> Response:
        return JSONResponse([{"status": one.status, "body": one.body()} for one in ERRORS])

    return [
        Route("/sandbox/accounts", _checked(accounts), methods=["GET", "POST"]),
        Route("/sandbox/behaviour", _checked(behaviour), methods=["GET", "POST"]),
        Route("/sandbox/foreign_posts", _checked(foreign_posts), methods=["POST"]),
        Route("/sandbox/errors", errors, methods=["GET"]),
        Route("/sandbox/tokens", _checked(graph.logins.new_token), methods=["POST"]),
        Route("/sandbox/token_ends", _checked(graph.logins.end_tokens), methods=["POST"]),
    ]


def _checked(steer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return await steer(request)
        except ValidationError as problem:
            reasons = problem.errors(include_url=False, include_context=False)
            return JSONResponse({"error": reasons}, status_code=400)

    return endpoint
