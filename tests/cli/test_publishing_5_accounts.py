"""Item 5 on the command line: an account of each login, from a token that no argument ever holds."""

from __future__ import annotations

from pathlib import Path

import httpx

from persona_tui.sandbox.instagram.logins import APP_ID
from tests.cli.conftest import Shell
from tests.support.sandbox import SandboxProcess

MINE = "17841400000000001"


def test_publishing_5_accounts_are_added_listed_checked_and_removed(peopled: Shell, tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        where = {
            "PERSONA_INSTAGRAM__BASE_URL": sandbox.instagram,
            "PERSONA_INSTAGRAM__APP_ID": APP_ID,
            "PERSONA_INSTAGRAM__APP_SECRET": sandbox.token,
        }

        def token(**facts: object) -> str:
            answer = httpx.post(
                f"{sandbox.instagram}/sandbox/tokens",
                json={"ig_user_ids": [MINE], **facts},
                headers={"Authorization": f"Bearer {sandbox.token}"},
                trust_env=False,
                verify=False,
            )
            return str(answer.json()["token"])

        user = token(login="facebook", kind="user", seconds=3600)
        added = peopled(
            "account", "add", "Mira", "--login", "facebook", "--json", PERSONA_ACCOUNT_TOKEN=user, **where
        )
        assert (added.code, added.json["login"], added.json["days_left"]) == (0, "facebook", 59), added.err
        assert f"@sandbox_studio ({MINE}) of the Page" in added.err
        number = str(added.json["id"])
        (listed,) = peopled("account", "list", "--json", **where).json
        assert listed["page_id"] and "pages_show_list" in listed["scopes"] and listed["next"]
        (checked,) = peopled("account", "check", number, "--json", **where).json
        assert [finding["state"] for finding in checked["findings"]] == ["ok"] * 5
        poor = token(scopes=["instagram_business_basic"])
        refused = peopled(
            "account", "token", number, "--login", "instagram", "--token-stdin", stdin=poor, **where
        )
        assert refused.code == 2 and "instagram_business_content_publish" in refused.err
        again = peopled(
            "account", "token", number, "--login", "instagram", "--token-stdin", stdin=token(), **where
        )
        assert again.code == 0, again.err
        (listed,) = peopled("account", "list", "--json", **where).json
        assert (listed["login"], listed["days_left"]) == ("instagram", None)
        assert peopled("account", "remove", number, **where).code == 1  # nobody is there to ask
        assert peopled("account", "remove", number, "--yes", **where).code == 0
        assert peopled("account", "list", "--json", **where).json == []
        told = " ".join(said.out + said.err for said in (added, refused, again))
        assert not [secret for secret in (user, poor, sandbox.token) if secret in told]
    finally:
        sandbox.stop()
