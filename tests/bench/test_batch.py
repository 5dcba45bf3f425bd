"""The catalog that is measured: the same items as rows and as requests."""

import base64
from pathlib import Path

from bench.batch import _items
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import CatalogRow
from serving.batch.items import ItemDefaults, request_of
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings


def test_rows_and_requests_ask_for_the_same(tmp_path: Path) -> None:
    items = _items(tmp_path, 4, 2, "draft")
    assert sorted(item.custom_id for item in items) == [*(f"prompt-{i}" for i in range(4)), "song-0", "song-1"]
    assert items[0].song is items[-1].song is None
    reader = AttachmentReader(str(tmp_path), False, (), 1 << 24)
    for item in items:
        row = item.row()
        danced, _ = request_of(CatalogRow(0, 1, row["custom_id"], row["body"]), ItemDefaults(), reader, Settings())
        body = item.request()
        audio = base64.b64decode(body.pop("audio")) if "audio" in body else None
        asked = validated_request(parse_fields(body), Attachments(audio), Settings())
        assert (danced.text, danced.audio, danced.num_steps) == (asked.text, asked.audio, asked.num_steps)
        assert danced.seed == asked.seed
