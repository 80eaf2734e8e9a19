"""The package as others install it: small, typed, and knowing nothing of the service."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import grimp
import httpx
import msgspec
import pytest
import yaml

import refkeep_client
from refkeep_client import PreconditionRequired, Problem, RefkeepError, TooLarge, Unavailable, VersionConflict
from refkeep_client.answers import problem_of
from refkeep_client.blobs import Blobs
from refkeep_client.events import Events
from refkeep_client.media import Media
from refkeep_client.refs import Refs
from refkeep_client.rules import Policies, Workspaces
from service.router.problems import PROBLEMS, problem_answer

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "contracts" / "client"
OPENAPI = yaml.load((ROOT / "openapi.yaml").read_text(), Loader=yaml.CSafeLoader)
EXPORTED = {name: getattr(refkeep_client, name) for name in refkeep_client.__all__}
ERRORS = [name for name, each in EXPORTED.items() if inspect.isclass(each) and issubclass(each, RefkeepError)]
UNNAMED = {"internal", "blob-missing", "method-not-allowed", "request-timeout", "range-not-satisfiable", "storage-full"}
UNNAMED |= {"precondition-failed"}
SHAPES = [
    (refkeep_client.Blob, "BlobFacts"),
    (refkeep_client.BlobMeta, "BlobMeta"),
    (refkeep_client.Placeholder, "PlaceholderFacts"),
    (refkeep_client.Original, "OriginalFacts"),
    (refkeep_client.Original, "EventOriginal"),
    (refkeep_client.Sent, "BlobResult"),
    (refkeep_client.Ref, "RefDocument"),
    (refkeep_client.Attached, "RefResult"),
    (refkeep_client.Changed, "RefResult"),
    (refkeep_client.Entity, "EntityVersion"),
    (refkeep_client.MediaPage, "MediaList"),
    (refkeep_client.SignedUrl, "SignedUrl"),
    (refkeep_client.Policy, "PolicyDocument"),
    (refkeep_client.Normalise, "NormaliseDocument"),
    (refkeep_client.Preset, "PresetDocument"),
    (refkeep_client.Workspace, "WorkspaceDocument"),
    (refkeep_client.Quota, "Quota"),
    (refkeep_client.Use, "Use"),
    (refkeep_client.Reasons, "ReasonsDocument"),
    (refkeep_client.Reason, "ReasonDocument"),
    (refkeep_client.EventPage, "EventPage"),
    (refkeep_client.Event, "CloudEvent"),
    (refkeep_client.EventData, "EventData"),
    (refkeep_client.EventRef, "EventRef"),
]
OURS = {"replayed"}
LEFT_OUT = {refkeep_client.Attached: {"refs"}, refkeep_client.Reasons: {"copies"}}
"""What such an answer never has, and what only operators are told."""
GROUPS = {
    "blobs": Blobs,
    "refs": Refs,
    "media": Media,
    "events": Events,
    "policies": Policies,
    "workspaces": Workspaces,
}
CALLED_BY = {
    "post_blob": "blobs.send",
    "put_blob": "blobs.put",
    "post_missing": "blobs.missing",
    "get_blob": "blobs.download",
    "head_blob": "blobs.meta",
    "get_blob_preset": "blobs.download",
    "head_blob_preset": "blobs.download",
    "delete_blob": "blobs.delete",
    "get_blob_meta": "blobs.meta",
    "get_blob_why": "blobs.why",
    "get_entity_refs": "refs.get",
    "get_role_refs": "refs.get",
    "put_ref": "refs.put",
    "post_ref": "refs.append refs.insert",
    "put_order": "refs.order",
    "delete_ref": "refs.release",
    "delete_role_refs": "refs.release",
    "delete_entity_refs": "refs.release",
    "post_batch": "refs.batch",
    "get_media_list": "media.list media.page",
    "get_media": "media.get",
    "patch_media": "media.patch",
    "delete_media": "media.delete",
    "restore_media": "media.restore",
    "purge_media": "media.purge",
    "sign_media": "media.sign",
    "sign_media_list": "media.sign_many",
    "get_media_file": "media.download",
    "head_media_file": "media.get",
    "get_media_preset": "media.download",
    "head_media_preset": "media.download",
    "get_policy": "policies.get",
    "get_events": "events.page events.pages events.follow events.stream",
    "get_snapshot": "events.snapshot",
    "get_workspace": "workspaces.get",
}
ABOUT_THE_SERVICE = {"get_openapi", "get_docs", "get_docs_asset", "get_metrics", "get_livez", "get_readyz"}
OPERATORS = {"put_holding", "get_hold", "put_hold", "delete_hold", "put_workspace"}


def test_the_package_needs_httpx_and_msgspec_alone() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=]", name)[0] for name in project["dependencies"]}
    graph = grimp.build_graph("refkeep_client", include_external_packages=True)
    imported = {name for name in graph.modules if not name.startswith("refkeep_client")}
    assert imported - set(sys.stdlib_module_names) == declared == {"httpx", "msgspec"}
    assert project["requires-python"] == ">=3.11"


def test_what_is_exported_is_there_and_documented() -> None:
    exported = [getattr(refkeep_client, name) for name in refkeep_client.__all__]
    undocumented = [each.__name__ for each in exported if inspect.isclass(each) and not each.__doc__]
    assert undocumented == []
    assert refkeep_client.__all__ == sorted(refkeep_client.__all__, key=spelled)


def spelled(name: str) -> tuple[bool, str]:
    """Constants first, as ruff sorts them."""
    return not name.isupper(), name


def test_a_wheel_has_the_types_the_licence_and_no_test(tmp_path: Path) -> None:
    build = "import setuptools.build_meta as backend, sys; backend.build_wheel(sys.argv[1])"
    source = shutil.copytree(PACKAGE, tmp_path / "source", ignore=shutil.ignore_patterns("*.egg-info", "build"))
    command = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, timeout=100, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name.startswith("refkeep_client-")
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "refkeep_client/py.typed" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if name.endswith(".py")} == {"refkeep_client"}


@pytest.mark.parametrize("code", PROBLEMS)
def test_a_problem_of_the_service_is_an_exception_of_the_client(code: str) -> None:
    status, headers, body = problem_answer(code, "A sentence.", "/here", {"version": 7, "max_bytes": 8})
    problem = problem_of(httpx.Response(status, headers=[*headers, (b"x-request-id", b"r-1")], content=body))
    assert (type(problem) is Problem) == (code in UNNAMED)
    assert (problem.status, problem.code, problem.retryable) == (status, code, PROBLEMS[code].retryable)
    assert (problem.members, problem.request_id) == ({"version": 7, "max_bytes": 8}, "r-1")
    assert str(problem) == f"{status} {code}: A sentence. (request r-1)"
    assert problem.retry_after == (1.0 if problem.retryable else None)
    if isinstance(problem, VersionConflict | PreconditionRequired):
        assert problem.version == 7
    if isinstance(problem, TooLarge):
        assert problem.max_bytes == 8


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[]", b'{"code":5}', b"\xff", b'{"status":"x"}'])
def test_what_a_proxy_answers_is_a_problem_without_its_text(body: bytes) -> None:
    problem = problem_of(httpx.Response(502, content=body))
    assert isinstance(problem, Unavailable)
    assert (problem.code, problem.retryable) == ("http-502", True)
    assert str(problem) == "502 http-502: Bad Gateway"


@pytest.mark.parametrize(("shape", "schema"), SHAPES, ids=lambda each: getattr(each, "__name__", each))
def test_a_result_has_every_member_that_the_service_answers_with(shape: type[msgspec.Struct], schema: str) -> None:
    told = OPENAPI["components"]["schemas"][schema]
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    assert fields.keys() - OURS == told["properties"].keys() - LEFT_OUT.get(shape, set())
    needed = {name for name, field in fields.items() if field.required}
    assert needed <= set(told["required"])


def test_the_client_calls_every_operation_that_is_a_callers() -> None:
    calls = [call for path in OPENAPI["paths"].values() for name, call in path.items() if name != "parameters"]
    operations = {call["operationId"] for call in calls}
    assert operations - OPERATORS - ABOUT_THE_SERVICE == CALLED_BY.keys()
    for names in CALLED_BY.values():
        for name in names.split():
            group, method = name.split(".")
            assert callable(getattr(GROUPS[group], method))


@pytest.mark.parametrize("name", ERRORS)
def test_the_readme_names_every_exception(name: str) -> None:
    assert f"`{name}`" in (PACKAGE / "README.md").read_text()
