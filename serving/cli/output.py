"""What commands print: one JSON document, or lines for people."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_document(document: dict[str, Any], as_json: bool) -> None:
    """Print a result on standard output."""
    if as_json:
        print(json.dumps(document))
        return
    console = Console()
    for name, value in document.items():
        if name == "files":
            for path in value:
                console.print(path, highlight=False, soft_wrap=True)
        elif name == "seconds":
            console.print("  ".join(f"{stage} {s:.2f} s" for stage, s in value.items()), highlight=False)
        elif name == "notes":
            for note in value:
                console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        elif name == "mapping":
            for part, joint in value.items():
                found = ", ".join(joint) if isinstance(joint, list) else joint
                console.print(f"  {part}: {found}", highlight=False, markup=False, soft_wrap=True)
        elif name not in ("phrases", "prior", "versions", "triton"):
            console.print(f"{name}: {value}", highlight=False)
