"""What the keys do on the screen Pipelines."""

from __future__ import annotations

from persona_tui.actions.registry import Action, Table

TABLE = Table(
    "pipelines",
    "Pipelines",
    (
        Action("pipelines.import", "i", "Import", "Import workflows that ComfyUI saved or exported.", 10,
               anywhere=True),
        Action("pipelines.check", "c", "Check", "Ask the servers whether they can run the pipeline.", 11),
        Action("pipelines.edit", "e", "Edit", "Change the pipeline, or the step under the cursor.", 12),
        Action("pipelines.workflow", "w", "Workflow", "Edit the step's workflow in your editor.", 13),
        Action("pipelines.whole", "W", "As text", "Edit the whole pipeline in your editor.", 14,
               in_footer=False),
        Action("pipelines.export", "x", "Export", "Write the pipeline or the step to a file.", 15),
        Action("pipelines.run", "n", "New run", "Make pictures with a pipeline.", 16),
        Action("pipelines.delete", "d", "Delete", "Delete a pipeline that no run used; asks once.", 17,
               dangerous=True),
        Action("pipelines.to-list", "left", "To the pipelines", "Move to the list of pipelines.",
               in_footer=False, in_palette=False),
        Action("pipelines.to-steps", "right", "To the steps", "Move to the list of steps.",
               in_footer=False, in_palette=False),
    ),
    holds=("list",),
)  # fmt: skip
