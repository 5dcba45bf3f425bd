"""The question that decides whether a Triton server is healthy: does every model answer an inference?"""

from collections.abc import Mapping
from enum import Enum

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from export.triton_config import TritonModelConfig
from serving.engines.channel import channel_options

_BATCHES = 4
"""Of the slowest kind seen so far, which a canary may have to wait for."""


class Answer(Enum):
    """What a canary got: the right answer, a failure that will not heal, or none in time (also: a full queue)."""

    GOOD = "good"
    BROKEN = "broken"
    NONE = "none"


class Canary:
    """An inference on every model: one row of zeros of the configured shapes."""

    def __init__(self, url: str, server_id: str, timeout_s: float) -> None:
        self._server_id = server_id
        self._timeout_s = timeout_s
        self._slowest_s = 0.0
        self._requests: dict[str, list[InferInput]] = {}
        self._rows: dict[str, int] = {}
        self._client = InferenceServerClient(url, channel_args=channel_options())

    def watch(self, configs: Mapping[str, TritonModelConfig]) -> None:
        """Ask these models from now on."""
        self._requests = {name: [_zeros(t.name, t.dtype, t.dims, c) for t in c.inputs] for name, c in configs.items()}

    def ready_models(self) -> set[str] | None:
        """Names of the models that the server has loaded; None while it does not answer."""
        try:
            index = self._client.get_model_repository_index(client_timeout=self._timeout_s).models
        except (InferenceServerException, ValueError, RuntimeError):
            return None
        return {model.name for model in index if model.state == "READY"}

    def ask(self, models: list[str] | None = None) -> Answer:
        """Ask some models, or all; the worst answer counts."""
        requests = self._requests  # `watch` may replace them while another thread is here
        try:
            # Another server on our port would answer just as well.
            if self._client.get_server_metadata(client_timeout=self._timeout_s).name != self._server_id:
                return Answer.BROKEN
            for model in requests if models is None else models:
                self._client.infer(model, requests[model], client_timeout=self._patience_s())
        except InferenceServerException as error:
            return Answer.BROKEN if error.status() == "StatusCode.INTERNAL" else Answer.NONE
        except (ValueError, RuntimeError):  # the channel was closed by `close` in another thread
            return Answer.NONE
        return Answer.GOOD

    def ask_idle(self) -> Answer:
        """Ask the models that have answered nothing since the last call; real traffic is a canary itself."""
        before = self._rows
        rows = self._count_rows()
        if rows is None:
            return Answer.NONE
        answer = self.ask([m for m in self._requests if rows.get(m, 0) == before.get(m, 0)])
        if answer is Answer.GOOD:
            self._rows = self._count_rows() or {}
        return answer

    def _patience_s(self) -> float:
        """A canary may come behind a batch that is computed and one that is queued, on processors that others use."""
        return max(self._timeout_s, _BATCHES * self._slowest_s)

    def close(self) -> None:
        """Close the connection; a call in progress ends with no answer."""
        self._client.close()

    def _count_rows(self) -> dict[str, int] | None:
        """Rows that each model has answered so far; None when the server does not say."""
        try:
            stats = self._client.get_inference_statistics(client_timeout=self._timeout_s).model_stats
        except (InferenceServerException, ValueError, RuntimeError):
            return None
        batches = [b.compute_infer for s in stats for b in s.batch_stats if b.compute_infer.count]
        self._slowest_s = max((b.ns / b.count / 1e9 for b in batches), default=0.0)
        return {s.name: int(s.inference_count) for s in stats}


def _zeros(name: str, dtype: str, dims: tuple[int, ...], config: TritonModelConfig) -> InferInput:
    shape = [1 if d < 0 else d for d in dims]
    if config.max_batch_size > 0:
        shape = [1, *shape]
    tensor = InferInput(name, shape, dtype)
    tensor.set_data_from_numpy(np.zeros(shape, triton_to_np_dtype(dtype)))
    return tensor
