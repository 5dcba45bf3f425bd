"""What a Ray Serve configuration names: it reads the environment, and refuses what would start on no Triton."""

import pytest

from choreo.errors import InvalidInput
from serving.ray.application import build

TRITON = '["127.0.0.1:8001"]'


def test_it_is_the_whole_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_TRITON_URL", TRITON)
    assert build({})._bound_deployment.name == "Ingress"


def test_there_is_a_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHOREO_TRITON_URL", raising=False)
    with pytest.raises(InvalidInput, match="CHOREO_TRITON_URL"):
        build({})


def test_arguments_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_TRITON_URL", TRITON)
    with pytest.raises(InvalidInput, match=r"args\.triton_url"):
        build({"triton_url": TRITON})


def test_a_setting_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHOREO_TRITON_URL", "127.0.0.1:8001")
    with pytest.raises(InvalidInput, match="CHOREO_TRITON_URL"):
        build({})
