"""What the keys do on the screen Accounts."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "accounts",
    "Accounts",
    (
        Action("accounts.add", "a", "Connect", "Connect the persona's Instagram account, step by step.", 10),
        Action("accounts.token", "n", "New login", "Give this account a new token.", 11),
        Action("accounts.check", "k", "Check", "Ask Instagram about this account, line by line.", 12),
        Action("accounts.resume", "r", "Resume", "Let a stopped account publish again.", 13),
        Action("accounts.guide", "w", "What to click", "Show the steps at Meta, for both logins.", 14),
        Action(
            "accounts.remove",
            "d",
            "Remove",
            "Forget an account that no post was made for; asks first.",
            15,
            dangerous=True,
        ),
    ),
    holds=("list",),
)
