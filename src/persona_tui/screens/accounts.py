"""Accounts: every Instagram account with its token's life, its rights and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import accounts_lines as lines
from persona_tui.screens.accounts_connect import connect_account, show_guide
from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.marks import counted
from persona_tui.widgets.section import SectionTitle

if TYPE_CHECKING:
    from persona_tui.services.publishing.account_check import Finding
    from persona_tui.services.publishing.accounts import AccountView


class AccountsScreen(PersonaScreen):
    """All accounts, those of every persona; what Instagram said of one stands below."""

    SCOPE = "accounts"
    TITLE = "Accounts"
    HELP = (
        "The Instagram accounts that posts go to, one of each persona. Tokens are kept encrypted and renewed "
        "by the leading process: on day 30 and then weekly. An alarm comes when one ends within 10 days."
    )
    TOPICS = frozenset({"account", "persona", "post"})
    CSS_PATH = "accounts.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._findings: dict[int, tuple[Finding, ...]] = {}

    def compose_body(self) -> ComposeResult:
        yield EmptyState(
            "No account yet.\nA persona posts to a professional Instagram account of its own.",
            "accounts.add",
            icon="🔑",
            id="accounts-empty",
        )
        with Vertical(id="accounts-part"):
            yield SectionTitle("Accounts", id="accounts-title")
            yield DataList(
                [
                    Column("Account", share=3),
                    Column("Persona", share=2),
                    Column("Login", 10, from_width=76),
                    Column("Status", 13),
                    Column("Days", 5, align="right"),
                    Column("Today", 6, align="right", from_width=96),
                    Column("Waiting", 8, align="right", from_width=96),
                    Column("Next", share=3, from_width=76),
                ],
                lines.cells,
                key=lambda account: account.id,
                id="accounts",
            )
            with VerticalScroll(id="about", can_focus=False):
                yield Static("", id="lines", markup=False)

    @property
    def rows(self) -> DataList[AccountView]:
        """The list."""
        found: DataList[AccountView] = self.query_one("#accounts", DataList)
        return found

    def on_mount(self) -> None:
        self.rows.focus()

    async def reload(self) -> None:
        from persona_tui.services.publishing.accounts import list_accounts

        accounts = await self.read(list_accounts)
        self.set_class(not accounts, "-empty")
        self.rows.show(list(accounts))
        stopped = sum(account.status != "active" for account in accounts)
        note = counted(len(accounts), "account") + (f", {stopped} stopped" if stopped else "")
        self.query_one("#accounts-title", SectionTitle).note = note
        self._write(self.rows.current)

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        self._write(event.item)

    def on_data_list_row_selected(self, _event: DataList.RowSelected) -> None:
        self.action_check()

    def _write(self, account: AccountView | None) -> None:
        told = [] if account is None else lines.about(account, self._findings.get(account.id, ()))
        self.query_one("#lines", Static).update(Content("\n").join(told))

    def _current(self) -> AccountView:
        account = self.rows.current
        if account is None:
            key = self.shell.registry.label("accounts.add")
            raise NotAllowedNow("There is no account yet.", hint=f"{key} connects one.")
        return account

    # Connecting

    def action_add(self) -> None:
        self.spawn(self._add, group="ask")

    async def _add(self) -> None:
        persona = self.shell.persona
        if persona is None:
            raise NotAllowedNow("There is no persona yet.", hint="Make one in Personas & Pillars.")
        await self._connect(persona.id, persona.name, None)

    def action_token(self) -> None:
        self.spawn(self._token, group="ask")

    async def _token(self) -> None:
        account = self._current()
        await self._connect(account.persona_id, account.persona, account)

    async def _connect(self, persona_id: int, name: str, known: AccountView | None) -> None:
        kept = await connect_account(self, persona_id, name, known=known)
        if kept is not None:
            self._findings.pop(kept.id, None)
            self.request_reload()
            self.flash(f"{name} posts as @{kept.username}.")

    def action_guide(self) -> None:
        self.spawn(self._guide, group="ask")

    async def _guide(self) -> None:
        await show_guide(self)

    # Looking after

    def action_check(self) -> None:
        self.spawn(self._check, group="check", exclusive=True)

    async def _check(self) -> None:
        from persona_tui.services.publishing.account_check import check_account
        from persona_tui.services.publishing.grants import account_grant

        account, resources = self._current(), self.shell.core.resources
        self.flash(f"Asking Instagram about @{account.username}…", "busy", seconds=60)
        grant = await self.read(account_grant, resources.keyring, account.id)
        found = await check_account(resources.instagram_client, resources.token_client, account, grant)
        self._findings[account.id] = found
        self._write(self.rows.current)
        failed = next((finding for finding in found if finding.state == "fail"), None)
        if failed is None:
            self.flash(f"@{account.username}: Instagram takes its token.")
        else:
            self.flash(f"@{account.username}: {failed.sentence}", "error", seconds=30)

    def action_resume(self) -> None:
        self.spawn(self._resume, group="ask")

    async def _resume(self) -> None:
        from persona_tui.services.publishing.accounts import resume_account

        account = self._current()
        if account.status == "active":
            raise NotAllowedNow(f"@{account.username} is not stopped.", hint="There is nothing to resume.")
        question = f"Let @{account.username} publish again?"
        if await self.ask(ConfirmDialog(question, account.reason, title="Resume", yes="Resume")):
            resumed = await self.act(resume_account, account.id)
            self.request_reload()
            self.flash(f"@{resumed.username} is active; {counted(resumed.waiting, 'post')} in line.")

    def action_remove(self) -> None:
        self.spawn(self._remove, group="ask")

    async def _remove(self) -> None:
        from persona_tui.services.publishing.accounts import remove_account

        account = self._current()
        question = f"Forget @{account.username} and its token?"
        consequence = "An account that posts were made for stays."
        if await self.ask(ConfirmDialog(question, consequence, yes="Forget", dangerous=True)):
            await self.act(remove_account, account.id)
            self.request_reload()
            self.flash(f"@{account.username} is forgotten.")
