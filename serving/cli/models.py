"""`choreo models`: the generators in a model repository. A running server follows what is changed here."""

from pathlib import Path
from typing import Annotated, Any

import typer

from choreo.errors import MissingDependency
from serving.cli.output import Json, print_document
from serving.settings import Settings

app = typer.Typer(
    name="models", help="List the generators of a model repository, or take one out.", no_args_is_help=True
)

Repository = Annotated[Path | None, typer.Option(help="Triton model repository.")]


@app.command("list")
def list_models(repository: Repository = None, as_json: Json = False) -> None:
    """List what a server of the repository serves, the default generator first."""
    from export.repository import read_spec, served

    root = repository or Settings().model_repo
    try:
        names = served(root)
    except MissingDependency:
        names = []
    found: list[dict[str, Any]] = []
    for name in names:
        spec = read_spec(root, name)
        found.append({"name": name, "family": spec.family, "graphs": [graph.name for graph in spec.graphs]})
    print_document({"repository": str(root), "models": found}, as_json)


@app.command("remove")
def remove_model(
    name: Annotated[str, typer.Argument(help="Name of a generator.")],
    repository: Repository = None,
    as_json: Json = False,
) -> None:
    """Serve a generator no longer, and remove it; a running server finishes the requests that it has."""
    from export.repository import remove_generator, served

    root = repository or Settings().model_repo
    remove_generator(root, name)
    try:
        left = served(root)
    except MissingDependency:
        left = []
    print_document({"removed": name, "models": left}, as_json)
