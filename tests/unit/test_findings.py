"""What a report calls well."""

from __future__ import annotations

from service.application.findings import Kind, Report


def test_what_is_there_to_be_taken_back_is_still_to_be_done_and_no_loss() -> None:
    report = Report()
    report.add(Kind.ADOPTED, "stray", 7)
    assert ([finding.settled for finding in report.told], report.is_well) == ([False], True)
    report.add(Kind.MISSING, "lost", 7)
    assert not report.is_well


def test_garbage_is_not_well_until_it_is_removed() -> None:
    left, removed = Report(), Report()
    left.add(Kind.GARBAGE, "stray", 7)
    removed.add(Kind.GARBAGE, "stray", 7, settled=True)
    assert (left.is_well, removed.is_well) == (False, True)
