"""Item 5: an account is connected by token or by browser, over both logins and real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr
from tests.support.instagram import InstagramWorld, assert_without, plain_transport
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.instagram import InstagramClient, InstagramError
from persona_tui.clients.instagram_login import LoginName, login_of, secret_proof
from persona_tui.clients.instagram_tokens import AppMissing, TokenClient
from persona_tui.errors import InvalidRequest, NotAllowedNow, PersonaError
from persona_tui.sandbox.instagram.logins import APP_ID
from persona_tui.services.publishing.connecting import Found, find_by_code, find_by_token
from persona_tui.services.publishing.oauth import LoopbackRedirect, begin_login, pasted_code

FACEBOOK_LACKS = ("instagram_content_publish", "pages_show_list")
BOTH = pytest.mark.parametrize("login", ["instagram", "facebook"])


class Place:
    """The sandbox with an app at Meta."""

    def __init__(self, world: InstagramWorld) -> None:
        self.world = world
        self.secret = SecretStr(world.process.token)

    def client(self, ig_user_id: str, token: str, login: LoginName = "instagram") -> InstagramClient:
        return InstagramClient(
            SecretStr(token),
            ig_user_id=ig_user_id,
            login=login_of(login),
            base_url=self.world.process.instagram,
            environment="sandbox",
            app_secret=self.secret,
            transport=plain_transport(),
        )

    def tokens(self, login: LoginName) -> TokenClient:
        return TokenClient(
            login_of(login),
            app_id=APP_ID,
            app_secret=self.secret,
            base_url=self.world.process.instagram,
            environment="sandbox",
            transport=plain_transport(),
        )

    def token(self, *ig_user_ids: str, **facts: object) -> str:
        return str(self.world.steer("tokens", {"ig_user_ids": ig_user_ids, **facts})["token"])

    async def find(self, login: LoginName, token: str) -> tuple[Found, ...]:
        return await find_by_token(self.tokens, self.client, login, SecretStr(token))

    async def open(self, page: str) -> httpx.Response:
        """What a browser gets at Meta's page: the way back."""
        async with httpx.AsyncClient(trust_env=False, verify=False) as browser:
            return await browser.get(page)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("connecting"))
    yield made
    made.stop()


@pytest.fixture
def place(process: SandboxProcess) -> Place:
    world = InstagramWorld(process)
    world.calm()
    return Place(world)


async def test_publishing_5_a_short_token_is_made_long_and_names_its_account(place: Place) -> None:
    mine = place.world.account()
    (one,) = await place.find("instagram", place.token(mine, seconds=3600))
    assert (one.account.ig_user_id, one.missing, one.lives_for and one.lives_for.days) == (mine, (), 60)
    long_lived = place.token(mine)
    (one,) = await place.find("instagram", long_lived)
    assert one.account.grant.token.get_secret_value() == long_lived and one.lives_for is None


async def test_publishing_5_a_facebook_token_leads_to_every_page_and_names_its_rights(place: Place) -> None:
    mine = [place.world.account() for _ in range(27)]
    found = await place.find("facebook", place.token(*mine, login="facebook", kind="user", seconds=3600))
    assert [one.account.ig_user_id for one in found] == mine  # over more than one page of the listing
    assert all(one.account.page and one.account.grant.root and not one.missing for one in found)
    assert found[0].lives_for is not None and found[0].lives_for.days == 60
    client = place.client(mine[0], found[0].account.grant.token.get_secret_value(), "facebook")
    assert (await client.me()).ig_user_id == mine[0]
    place.secret = SecretStr("another-apps-secret")
    with pytest.raises(InstagramError):  # the proof is of another secret
        await place.client(mine[0], found[0].account.grant.token.get_secret_value(), "facebook").me()


@pytest.mark.parametrize(
    ("login", "scopes", "missing"),
    [
        ("instagram", ["instagram_business_basic"], ("instagram_business_content_publish",)),
        (
            "facebook",
            ["instagram_basic", "pages_show_list", "pages_read_engagement"],
            ("instagram_content_publish",),
        ),
    ],
)
async def test_publishing_5_missing_rights_are_named(
    place: Place, login: LoginName, scopes: list[str], missing: tuple[str, ...]
) -> None:
    kind = "account" if login == "instagram" else "user"
    token = place.token(place.world.account(), login=login, kind=kind, scopes=scopes)
    assert (await place.find(login, token))[0].missing == missing


@BOTH
async def test_publishing_5_a_login_comes_back_over_loopback(place: Place, login: LoginName) -> None:
    place.world.steer("accounts", {"ig_user_id": "17841400000000077", "username": "mira", "is_me": True})
    async with LoopbackRedirect() as back:
        attempt = begin_login(place.tokens(login), back.redirect, state=back.state)
        way_back = (await place.open(attempt.page)).headers["location"]
        assert "referrer" in (await place.open(way_back.partition("#")[0])).text
        code = await back.code(5)
    (one,) = await find_by_code(place.tokens, place.client, login, code, attempt)
    assert (one.account.username, one.missing, one.lacking) == ("mira", (), ())
    assert one.lives_for is not None and one.lives_for.days == 60
    with pytest.raises(InstagramError) as caught:  # a code is good for one time
        await find_by_code(place.tokens, place.client, login, code, attempt)
    assert_without(code.get_secret_value(), caught.value)


async def test_publishing_5_r28_nobody_else_ends_a_login(place: Place) -> None:
    async with LoopbackRedirect() as back:
        port, path = urlsplit(back.redirect).port, urlsplit(back.redirect).path
        good = f"{path}?code=a-code-of-theirs&state={back.state}"
        refused = [
            ("GET", good, {"Host": f"evil.example:{port}"}),
            ("GET", good, {"Origin": "http://evil.example"}),
            ("POST", good, {}),
            ("GET", f"/?code=a-code-of-theirs&state={back.state}", {}),
            ("GET", f"{path}?code=a-code-of-theirs&state=guessed", {}),
            ("GET", f"{path}?state={back.state}", {}),
        ]
        async with httpx.AsyncClient(
            trust_env=False, verify=False, base_url=f"http://127.0.0.1:{port}"
        ) as web:
            answers = [await web.request(how, what, headers=headers) for how, what, headers in refused]
            assert [answer.status_code // 100 for answer in answers] == [4] * len(refused)
            with pytest.raises(NotAllowedNow, match="did not come back"):
                await back.code(0.01)
            denied = {"error": "access_denied", "state": back.state}
            assert (await web.get(path, params=denied)).status_code == 200
            with pytest.raises(NotAllowedNow, match="not granted"):
                await back.code(5)


async def test_publishing_5_a_pasted_address_gives_its_code_to_its_own_login_only(place: Place) -> None:
    attempt = begin_login(place.tokens("instagram"), "https://example.org/back")
    address = f"https://example.org/back?code=AQB-code-123&state={attempt.state}#_"
    assert pasted_code(address, attempt).get_secret_value() == "AQB-code-123"
    assert pasted_code(" AQB-code-123#_ ", attempt).get_secret_value() == "AQB-code-123"
    for wrong in (address.replace(attempt.state, "x"), "https://example.org/back", "", "two words"):
        with pytest.raises(InvalidRequest):
            pasted_code(wrong, attempt)


async def test_publishing_5_r26_no_refusal_of_a_login_shows_a_secret(place: Place) -> None:
    mine = place.world.account()
    token = place.token(mine, seconds=3600)
    echo = {
        "error": {
            "code": 100,
            "message": f"no {token}",
            "error_user_msg": f"{place.secret.get_secret_value()}",
        }
    }
    refusals: list[PersonaError] = []
    for call in ("exchange_token", "me"):
        for kind, more in (("fail_before", {"status": 400, "body": echo}), ("garbage", {"body": token})):
            if call == "exchange_token":
                place.world.plan("me", "drop_before")
            place.world.plan(call, kind, **more)
            with pytest.raises(PersonaError) as caught:
                await place.find("instagram", token)
            refusals.append(caught.value)
            place.world.clear_faults()
    place.secret = SecretStr("CANARY-wrong-secret")
    with pytest.raises(InstagramError) as wrong:
        await place.find("instagram", token)
    assert wrong.value.code == 1
    for error in [*refusals, wrong.value]:
        for secret in (token, place.world.process.token, "CANARY-wrong-secret"):
            assert_without(secret, error)


async def test_publishing_5_without_an_app_facebook_says_what_is_missing(place: Place) -> None:
    client = TokenClient(login_of("facebook"), app_id=None, app_secret=None)
    with pytest.raises(AppMissing, match="id and secret"):
        await client.lengthen(SecretStr("EAAsome-token-of-a-user"))
    fox = SecretStr("The quick brown fox jumps over the lazy dog")
    known = "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    assert secret_proof(SecretStr("key"), fox) == known


def test_publishing_5_both_hosts_of_a_live_login_are_metas_own() -> None:
    for login in ("instagram", "facebook"):
        client = TokenClient(login_of(login), app_id="1", app_secret=SecretStr("secret"))
        page = client.dialog_url(redirect="https://example.org/", state="s", challenge="c")
        assert urlsplit(page).hostname in {"www.instagram.com", "www.facebook.com"}
        assert ("code_challenge" in page) is (login == "facebook")
