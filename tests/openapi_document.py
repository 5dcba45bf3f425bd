"""The OpenAPI document of the server, and what of it clients of an earlier one would miss.

    python tests/openapi_document.py

writes the document of the code at hand to tests/serving/http/openapi.json, with which later ones are compared. Do so
when something was added, so that it is guarded from then on.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Final, cast

Json = dict[str, Any]

Compare = Callable[[str, Json, Json], Iterator[str]]

BOUNDS: Final = {"maximum": 1, "maxLength": 1, "maxItems": 1, "minimum": -1, "minLength": -1, "minItems": -1}
"""Bounds of schemas, and the sign of the direction in which they leave more room."""
FILE: Final = Path(__file__).parent / "serving" / "http" / "openapi.json"


def current_document() -> Json:
    """The document of the code at hand."""
    from serving.http.ingress import create_app
    from serving.pipeline.contracts import Stages
    from serving.settings import Settings

    nowhere = cast(Any, None)
    return create_app(Settings(), Stages(nowhere, nowhere, nowhere, nowhere)).openapi()


def breaking_changes(old: Json, new: Json) -> list[str]:
    """What a client of the old document would run into, one line each; none where it would not notice."""
    return list(_paths(inlined(old, old), inlined(new, new)))


def inlined(part: Any, document: Json, depth: int = 0) -> Any:
    """A part of a document with all references replaced by what they lead to."""
    if depth > 32:
        return {}  # a schema within itself says nothing new
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            names = part["$ref"].removeprefix("#/").split("/")
            return inlined(reduce(lambda found, name: found[name], names, document), document, depth + 1)
        return {name: inlined(value, document, depth + 1) for name, value in part.items() if name != "components"}
    return [inlined(value, document, depth + 1) for value in part] if isinstance(part, list) else part


def _paths(old: Json, new: Json) -> Iterator[str]:
    for path, operations in old["paths"].items():
        for method, operation in operations.items():
            where, now = f"{method.upper()} {path}", new["paths"].get(path, {}).get(method)
            if now is None:
                yield f"{where} is gone"
                continue
            yield from _parameters(where, operation, now)
            yield from _body(where, operation.get("requestBody"), now.get("requestBody"))
            yield from _answers(where, operation["responses"], now["responses"])


def _parameters(where: str, old: Json, new: Json) -> Iterator[str]:
    before, now = ({(p["name"], p["in"]): p for p in each.get("parameters", ())} for each in (old, new))
    for key, parameter in now.items():
        if parameter.get("required") and not before.get(key, {}).get("required"):
            yield f"{where} needs the parameter {key[0]}"
    for key, parameter in before.items():
        if key not in now:
            yield f"{where} has no parameter {key[0]} any more"
        else:
            yield from _taken(f"{where} {key[0]}", parameter.get("schema", {}), now[key].get("schema", {}))


def _body(where: str, old: Json | None, new: Json | None) -> Iterator[str]:
    if new and new.get("required") and not (old and old.get("required")):
        yield f"{where} needs a body"
    for kind, content in (old or {}).get("content", {}).items():
        now = (new or {}).get("content", {}).get(kind)
        if now is None:
            yield f"{where} takes no {kind} any more"
        else:
            yield from _taken(f"{where} {kind}", content.get("schema", {}), now.get("schema", {}))


def _answers(where: str, old: Json, new: Json) -> Iterator[str]:
    for status, answer in old.items():
        if status not in new:
            yield f"{where} does not answer {status} any more"
            continue
        for kind, content in answer.get("content", {}).items():
            now = new[status].get("content", {}).get(kind)
            if now is None:
                yield f"{where} {status} has no {kind} any more"
            else:
                yield from _given(f"{where} {status}", content.get("schema", {}), now.get("schema", {}))


def _taken(where: str, old: Json, new: Json) -> Iterator[str]:
    """What a value of a request may no longer be: all that the old schema took, the new one must take."""
    yield from (f"{where} needs {name}" for name in new.get("required", ()) if name not in old.get("required", ()))
    known = [set(each.get("required", ())) for each in old.get("anyOf", ())] or [set(old.get("required", ()))]
    enough = [set(each.get("required", ())) for each in new.get("anyOf", ())] or [set()]
    yield from (f"{where} is not content with {', '.join(one)}" for one in known if not any(e <= one for e in enough))
    if (enum := new.get("enum")) is not None:
        yield from (f"{where} takes no {value!r} any more" for value in old.get("enum", ()) if value not in enum)
        yield from [f"{where} takes certain values only"] if "enum" not in old else []
    now, before = _types(new), _types(old)
    if now and not (before and before <= now | ({"integer"} if "number" in now else set())):
        yield f"{where} takes {', '.join(sorted(now))} only"
    for bound, sign in BOUNDS.items():
        if bound in new and (bound not in old or sign * new[bound] < sign * old[bound]):
            yield f"{where} has a tighter {bound}"
    yield from _below(where, old, new, _taken)


def _given(where: str, old: Json, new: Json) -> Iterator[str]:
    """What an answer no longer has: all that the old schema promised, the new one must."""
    yield from (
        f"{where} promises no {n} any more" for n in old.get("required", ()) if n not in new.get("required", ())
    )
    if "enum" in new:
        yield from (f"{where} is never {value!r} any more" for value in old.get("enum", ()) if value not in new["enum"])
    before, now = _types(old), _types(new)
    if before and not (now and now <= before):
        yield f"{where} may be {', '.join(sorted(now)) or 'anything'}"
    yield from _below(where, old, new, _given)


def _below(where: str, old: Json, new: Json, compare: Compare) -> Iterator[str]:
    for name, schema in old.get("properties", {}).items():
        now = new.get("properties", {}).get(name)
        if now is None:
            yield f"{where} has no {name} any more"
        else:
            yield from compare(f"{where} {name}", schema, now)
    if "items" in old and "items" in new:
        yield from compare(f"{where}[]", old["items"], new["items"])


def _types(schema: Json) -> set[str]:
    """Types that a schema allows; none stands for any."""
    kinds = {each.get("type") for each in schema.get("anyOf", ())} or {schema.get("type")}
    return set() if None in kinds else {str(kind) for kind in kinds}


def main() -> int:
    """Write the document."""
    sys.path.insert(0, str(FILE.parents[3]))
    FILE.write_text(json.dumps(current_document(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
