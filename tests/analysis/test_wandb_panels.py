"""The view in wandb: what would be sent, for no server is at hand that could take it."""

from __future__ import annotations

import json

import pytest

from adabatch.records import COLUMNS
from analysis.cli import main
from analysis.wandb_panels import make_view

#: The package still declares its models in an older style of pydantic's.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_every_panel_draws_what_the_tracker_logs_and_smooths_nothing() -> None:
    view = make_view("team/project")._to_model()
    section = json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))["section"]
    panels = [panel["config"] for part in section["panelBankConfig"]["sections"] for panel in part["panels"]]
    assert len(panels) == 6
    for panel in panels:
        assert panel["xAxis"] in COLUMNS
        assert set(panel["metrics"]) <= set(COLUMNS)
        assert panel["smoothingType"] == "none"
    assert {panel["chartTitle"] for panel in panels if panel["yLogScale"]} == {"Batch size", "Learning rate"}
    assert section["runSets"][0]["grouping"] == [{"section": "run", "name": "jobType"}]


def test_a_project_without_an_entity_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wandb-view", "project"]) == 2
    assert "The project is project; it must be given as ENTITY/PROJECT." in capsys.readouterr().err


def test_a_server_that_is_not_there_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert main(["wandb-view", "team/project"]) == 1
    assert "The view was not saved in team/project: " in capsys.readouterr().err
