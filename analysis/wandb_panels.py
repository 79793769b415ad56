"""Makes a view in a wandb project with the panels that the report shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adabatch.errors import ConfigError

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

#: Title, x, y and whether y is logarithmic; names are those of ``epochs.csv``, which the tracker logs.
PANELS = (
    ("Accuracy by epoch", "epoch", ("test_accuracy",), False),
    ("Accuracy by samples", "samples", ("test_accuracy",), False),
    ("Accuracy by seconds", "elapsed_seconds", ("test_accuracy",), False),
    ("Batch size", "epoch", ("batch_size",), True),
    ("Learning rate", "epoch", ("learning_rate",), True),
    ("Seconds of an epoch", "epoch", ("forward_seconds", "backward_seconds", "update_seconds", "data_seconds"), False),
)


def make_view(project: str, name: str = "adabatch") -> Workspace:
    """Return a view of a project, not saved yet: lines by arm, with the range over seeds, and never smoothed.

    Args:
        project: ``ENTITY/PROJECT``.

    Raises:
        ConfigError: if the project is not given so, or the package wandb-workspaces is not installed.
    """
    entity, _, title = project.partition("/")
    if not entity or not title or "/" in title:
        raise ConfigError(f"The project is {project}; it must be given as ENTITY/PROJECT.")
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise ConfigError("wandb's views need a package of their own: pip install wandb-workspaces.") from error
    panels: list[Any] = [
        reports.LinePlot(
            title=label,
            x=x,
            y=list(y),
            log_y=is_logarithmic,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            smoothing_type="none",
        )
        for label, x, y, is_logarithmic in PANELS
    ]
    return workspaces.Workspace(
        entity=entity,
        project=title,
        name=name,
        sections=[workspaces.Section(name="Growing against fixed batches", panels=panels, is_open=True)],
        runset_settings=workspaces.RunsetSettings(groupby=[workspaces.Metric("JobType")]),
    )


def save_view(view: Workspace) -> str:
    """Save a view in its project and return its address.

    Raises:
        ConnectionError: if the server does not take it.
    """
    try:
        return str(view.save().url)
    except Exception as error:  # the package lets through whatever its layers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConnectionError(f"The view was not saved in {view.entity}/{view.project}: {reason}.") from error
