"""What the keys do on the screen Vote."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table


def _choose(name: str, key: str, title: str, help: str) -> Action:
    """Its key stands below its picture, so the legend leaves it out."""
    return Action(f"vote.{name}", key, title, help, 10, in_footer=False, in_palette=False)


def _pan(name: str, key: str, title: str, help: str) -> Action:
    return Action(f"vote.pan-{name}", key, title, help, in_footer=False, in_palette=False)


TABLE = Table(
    "vote",
    "Vote",
    (
        _choose("left", "left,h", "Left", "The left picture is the better one."),
        _choose("right", "right,l", "Right", "The right picture is the better one."),
        _choose(
            "first", "1", "First", "The first picture is the best: the left one, or that at the top left."
        ),
        _choose("second", "2", "Second", "The second picture is the best: the right one, or the next one."),
        _choose("third", "3", "Third", "The third picture of the grid is the best."),
        _choose("fourth", "4", "Fourth", "The fourth picture of the grid is the best."),
        Action("vote.unsure", "space", "Not sure", "None is better; show others.", 12),
        Action(
            "vote.accept",
            "enter",
            "Accept",
            "Let the best go on to the next step; after the last step the leader wins and becomes a draft.",
            13,
        ),
        Action(
            "vote.undo",
            "z,u,backspace",
            "Undo",
            "Take the last vote or rejection back and show its pictures again; as often as you like.",
            14,
        ),
        Action(
            "vote.reject",
            "x",
            "Reject",
            "Reject a picture with all that grew from it: then choose which; again, or Esc, rejects none.",
            15,
        ),
        Action("vote.grid", "g", "Two or four", "Show two pictures at once, or up to four.", 16),
        Action(
            "vote.next", "n", "Skip", "Leave this contest for the next one, or a question unanswered.", 17
        ),
        Action("vote.zoom", "Z", "Zoom", "Show all pictures at 100 %, or whole again.", 18),
        Action(
            "vote.blink", "b", "Blink", "Show the pictures in turn in one place, or beside each other.", 19
        ),
        Action("vote.info", "i", "Info", "Show prompt, LoRAs, seed and parent, or hide them again.", 20),
        Action("vote.reveal", "r", "Ratings", "Show the ratings, or hide them again.", 21),
        Action("vote.flag", "f", "Flag", "Flag a picture, or take its flag away: then choose which.", 22),
        Action("vote.swap", "c", "Swap", "Let the two pictures change sides.", 23),
        Action("vote.queue", "o", "Queue", "List all that waits for votes, and choose one.", 24),
        Action("vote.gallery", "t", "All pictures", "Open the run in the gallery.", 25),
        _pan("left", "H,shift+left", "Pan left", "At 100 %, look further to the left in all pictures."),
        _pan("right", "L,shift+right", "Pan right", "At 100 %, look further to the right in all pictures."),
        _pan("up", "K,shift+up", "Pan up", "At 100 %, look further up in all pictures."),
        _pan("down", "J,shift+down", "Pan down", "At 100 %, look further down in all pictures."),
    ),
)
