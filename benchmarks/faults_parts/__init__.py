"""The fault suite of publishing: tests T1 to T20 with their harness, in long and short forms."""
