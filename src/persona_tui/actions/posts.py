"""What the keys do on the screen Posts & calendar."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "posts",
    "Posts & calendar",
    (
        Action("posts.caption", "c", "Caption", "Have a caption, hashtags and alt text proposed.", 10),
        Action("posts.edit", "e", "Edit", "Edit caption, hashtags and alt text.", 11),
        Action("posts.schedule", "s", "Schedule", "Schedule it at the next free slot.", 12),
        Action("posts.schedule-at", "S", "At a time", "Schedule or move it to a time that you type.", 17),
        Action("posts.unschedule", "u", "Unschedule", "Take it off the calendar and keep it ready.", 16),
        Action("posts.publish", "p", "Publish", "Let it go out at once; asks first.", 13),
        Action("posts.month", "m", "Month", "Show the month calendar, or hide it.", 14),
        Action("posts.filter", "f", "Filter", "Choose which states are listed.", 15),
        Action("posts.retry", "R", "Retry", "Try it again: failed, paused, deferred, missed or fixed.", 19),
        Action("posts.look", "k", "Look", "Look at the account for a post that may be out already.", 18),
        Action("posts.cancel", "x", "Cancel", "Give it up; the picture is free again.", 20, dangerous=True),
        Action("posts.reopen", "o", "Open again", "Make a cancelled post a draft again.", 21),
        Action("posts.delete", "D", "Delete", "Delete a draft that was never tried.", 22, dangerous=True),
        Action("posts.new", "n", "New", "Make a carousel, a story, a reel or a single post of pictures.", 24),
        Action("posts.format", "t", "Tags", "Accounts, place, collaborators, cover and first comment.", 25),
        Action("posts.picture", "v", "View", "Show its pictures as large as the terminal.", 23),
        Action("posts.preview", "V", "Preview", "Show the very files that go out.", 23),
        Action("posts.overdue", "O", "Overdue", "All that should be out already: move, publish, drop.", 24),
        Action("posts.rehearse", "r", "Rehearse", "Play the plan of the next days against the sandbox.", 25),
        Action(
            "posts.hold",
            "H",
            "Pause all",
            "Let nothing more go out, of any persona; or go on again.",
            26,
            anywhere=True,
        ),
    ),
    holds=("list", "grid"),
)

OVERDUE = Table(
    "overdue",
    "Overdue posts",
    (
        Action("overdue.reslot", "s", "Next slots", "Move them to the next free slots.", 10),
        Action("overdue.now", "p", "Publish", "Let them go out now, one after the other's gap.", 11),
        Action("overdue.drop", "x", "Drop", "Give them up; their pictures are free.", 12),
        Action("overdue.undo", "z,u", "Take back", "Take the last act back.", 13),
        Action("overdue.all", "a", "Mark all", "Mark all, or take all marks away.", 14),
        Action("overdue.personas", "tab", "Whose", "Of this persona, or of all.", 15),
        Action("overdue.close", "escape,q", "Close", "Back to the posts.", 90),
    ),
    kind="dialog",
    holds=("list", "marks"),
)
"""The dialog's acts are on the marked posts, or on the one under the cursor where none is marked."""
