"""What the keys do on the screen LoRAs."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "loras",
    "LoRAs",
    (
        Action("loras.take", "a", "Take in", "Say what the offered file is, and import it.", 8),
        Action(
            "loras.dismiss",
            "n",
            "Dismiss",
            "Offer the file no longer, unless it changes.",
            9,
            run="dismiss_offer",
        ),
        Action("loras.offers", "o", "Offers", "To the files that watched folders offer, or back.", 9),
        Action("loras.import", "i", "Import", "Choose a LoRA file, or a folder of them, and import it.", 10),
        Action("loras.use", "u", "Use", "Let the persona use it, or change its weight.", 11),
        Action("loras.promote", "p", "Promote", "Use it in place of the primary one of its kind.", 12),
        Action("loras.convert", "r", "Convert", "Write what ComfyUI would not load as its next version.", 10),
        Action("loras.roll-back", "b", "Roll back", "Go back to what was in use before it.", 13),
        Action("loras.compare", "c", "Compare", "Picture one prompt and seed with it and another one.", 13),
        Action("loras.vote", "v", "Vote", "Vote blind between it and another one.", 13),
        Action("loras.test", "t", "Test", "Picture one prompt without and with it, side by side.", 13),
        Action("loras.unuse", "x", "Don't use", "Keep it from the persona's further runs.", 14),
        Action("loras.place", "s", "To servers", "Copy it to every server, and ask whether it is there.", 15),
        Action("loras.folders", "f", "Folders", "Have folders watched for new files, or no longer.", 16),
        Action("loras.about", "w", "All about it", "Show everything that is known of it.", 16),
        Action("loras.training", "l", "Its training", "Open the training that it came of.", 17),
        Action(
            "loras.remove",
            "d",
            "Remove",
            "Take a version that no run used out; asks first.",
            17,
            dangerous=True,
        ),
    ),
    holds=("list",),
)

BLIND = Table(
    "blind",
    "Blind votes on LoRAs",
    (
        # Their keys stand below their pictures.
        Action("blind.left", "left,h,1", "Left", "The left picture is the better one.", in_footer=False),
        Action("blind.right", "right,l,2", "Right", "The right picture is the better one.", in_footer=False),
        Action("blind.unsure", "space", "Neither", "None of the two is better.", 12),
        Action("blind.undo", "z,u,backspace", "Undo", "Take the last vote of this sitting back.", 13),
        Action("blind.make", "m", "Make the rest", "Have the pictures made that are missing.", 14),
        Action("blind.promote", "p", "Promote", "Promote the one that is more likely the better; asks.", 14),
        Action("blind.close", "escape,q", "Close", "Close; the votes stay, and you can go on later.", 15),
    ),
    kind="dialog",
)
