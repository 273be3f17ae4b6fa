"""Keys in the desktop's own keyring (Secret Service, KWallet, macOS Keychain), by the extra `keyring`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_tui.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "persona-tui"
_INSTEAD = "Unlock or install it, or set PERSONA_SECRETS__KEYS=file."


class DesktopKeys:
    """Named texts in the keyring of whoever is logged in."""

    def __init__(self) -> None:
        """Raises:
        SettingsError: the extra is not installed, or no keyring runs here.
        """
        try:
            import keyring
        except ImportError:
            raise SettingsError(
                "The settings ask for the desktop's keyring, but the extra is not installed.",
                hint="pip install 'persona-tui[keyring]', or set PERSONA_SECRETS__KEYS=file.",
            ) from None
        self._backend: KeyringBackend = keyring.get_keyring()
        if self._backend.priority <= 0:
            raise SettingsError("The settings ask for the desktop's keyring, but none runs.", hint=_INSTEAD)

    def read(self, name: str) -> str | None:
        """The text of that name; None: there is none.

        Raises:
            StorageError: the keyring is locked or away.
        """
        from keyring.errors import KeyringError

        try:
            kept: str | None = self._backend.get_password(SERVICE, name)
        except KeyringError:
            raise StorageError("The desktop's keyring can't be read.", hint=_INSTEAD) from None
        return kept

    def write(self, name: str, text: str) -> None:
        """Keep a text under that name.

        Raises:
            StorageError: the keyring is locked or away.
        """
        from keyring.errors import KeyringError

        try:
            self._backend.set_password(SERVICE, name, text)
        except KeyringError:
            raise StorageError("The desktop's keyring can't be written.", hint=_INSTEAD) from None


__all__ = ["DesktopKeys"]
