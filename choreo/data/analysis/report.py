"""The description of a data set as a folder: tables in Markdown, plots, and the document itself."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from choreo.data.analysis import plots
from choreo.errors import InvalidInput, NotSaved
from choreo.files import appearing_together, atomic_write, disk_is_full
from choreo.reporting.tables import Table

MAX_ROWS: Final = 30
"""Of a table; the document has all."""

Document = Mapping[str, Any]


def write_report(description: Document, folder: Path) -> list[Path]:
    """Write `report.md`, `description.json` and the plots, all of them or none; the files.

    Args:
        description: by `choreo.data.analysis.description.describe`.
        folder: where they appear; it is made if it does not exist.

    Raises:
        InvalidInput: the folder cannot be written.
        NotSaved: the disk is full.
    """
    texts = {"report.md": markdown(description), "description.json": json.dumps(description, indent=1) + "\n"}
    texts |= {f"{name}.svg": picture for name, picture in plots.pictures(description).items()}
    try:
        with appearing_together(folder) as part:
            for name, text in texts.items():
                atomic_write(part / name, text.encode("utf-8", "replace"))
    except OSError as error:
        if disk_is_full(error):
            raise NotSaved(f"the report could not be written to {folder}: {error.strerror}; make room") from error
        raise InvalidInput("report", f"{folder} cannot be written: {error.strerror}") from error
    return [folder / name for name in texts]


def markdown(description: Document) -> str:
    """The tables, each with a sentence about what its numbers mean."""
    d = description
    parts = [
        "# Description of a data set\n",
        summary(d) + "\n",
        *("## Lengths\n", "![](lengths.svg)\n", _lengths(d["lengths"]).markdown()),
        *("## Motions that captions name\n", "![](motions.svg)\n", _captions(d["captions"])),
        *("## Speeds\n", "![](speeds.svg)\n", "m/s in the world, with the root's travel; fastest joints first.\n"),
        _columns(d["speeds"], ("joint", "median", "mean", "p99", "max")).markdown(),
        *("## Balance\n", "![](families.svg)\n", _families(d["families"])),
        *("## Terms\n", _columns(d["licences"], ("tag", "cleared", "minutes", "captions", "licence")).markdown()),
        *("## Split\n", _splits(d["splits"])),
        *("## Music\n", _music(d["music"])),
        *("## What trimming would remove\n", "![](trimming.svg)\n", _trimming(d["trimming"])),
    ]
    return "\n".join(parts)


def summary(description: Document) -> str:
    """The data set in a sentence."""
    d = description
    return (
        f"{d['layout']}: {d['clips']} clips of {d['groups']} songs or takes, {d['minutes']:g} min; "
        f"{d['num_skipped']} recordings or parts of them were left out."
    )


def _columns(rows: Sequence[Document], columns: Sequence[str], most: int = MAX_ROWS) -> Table:
    """The named columns of documents; long tables are cut with a last row that says so."""
    cells = [[_cell(row[column]) for column in columns] for row in rows[:most]]
    if len(rows) > most:
        cells.append([f"and {len(rows) - most} more", *[""] * (len(columns) - 1)])
    return Table([column.replace("_", " ") for column in columns], cells)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def _lengths(lengths: Document) -> Table:
    found = lengths["quantiles"]
    head = [f"{float(q):.0%}" for q in found]
    return Table(["clip length, s", "mean", *head], [["", f"{lengths['mean']:g}", *(f"{v:g}" for v in found.values())]])


def _captions(captions: Document) -> str:
    words = ", ".join(f"{row['word']} {row['clips']}" for row in captions["other_words"])
    return (
        f"{captions['captions']} captions of {captions['captioned_clips']} clips; those of "
        f"{captions['without_motion']} clips name no motion of the vocabulary. A clip counts once for each motion.\n\n"
        + _columns(captions["motions"], ("motion", "dance", "clips", "captions", "minutes")).markdown()
        + f"\nOther words, with clips: {words or 'none'}.\n"
    )


def _families(families: Document) -> str:
    columns = ("family", "clips", "groups", "minutes", "share", "dance", "music", "cleared")
    return (
        f"As balanced as {families['effective']:g} families of equal size (exp of the entropy of the shares). The last "
        "three columns are shares of the family's frames: of clips named as dance, with music, and cleared for weights "
        "that are shipped.\n\n" + _columns(families["rows"], columns).markdown()
    )


def _splits(splits: Document) -> str:
    if not splits["parts"]:
        return f"None: {splits['reason']}.\n"
    untrained = ", ".join(splits["not_trained"]) or "none"
    table = _columns(splits["parts"], ("part", "clips", "groups", "minutes", "families")).markdown()
    return f"Origin: {splits['origin']}.\n\n{table}\nHeld-out families that training has nothing of: {untrained}.\n"


def _music(music: Document) -> str:
    return (
        f"{music['clips']} clips have music, {music['minutes']:g} min: {music['share']:.1%} of the motion and "
        f"{music['share_of_dance']:.1%} of the dance.\n"
    )


def _trimming(trimming: Document) -> str:
    rules = trimming["rules"]
    columns = ("name", "minutes", "length", "speed", "uncommon", "together", "fast_frames", "spikes")
    uncommon = ", ".join(trimming["uncommon"]) or "none"
    return (
        f"Tried, and applied nowhere: sequences of {rules['seconds']:g} s (what is left over or shorter is lost), no "
        f"joint above {rules['speed']:g} m/s in any frame of a sequence, and no uncommon motion in the clip (tap "
        f"dance, backflips, and what less than {rules['rare_share']:.1%} of the captioned clips name; here: "
        f"{uncommon}). Shares of the frames that each rule alone removes, and all together; fast frames is the share "
        "of the frames that are above the limit themselves, and spikes the share of their unbroken runs that last "
        "one or two frames.\n\n"
        + _columns(trimming["kinds"], columns).markdown()
        + "\nBy family:\n\n"
        + _columns(trimming["families"], columns).markdown()
        + "\nShare of the frames that other limits of speed remove, m/s:\n\n"
        + _columns(trimming["limits"], ("max_speed", "dance", "other", "all")).markdown()
        + "\nMotions by the share of their clips' frames that are in a sequence that is too fast:\n\n"
        + _columns(trimming["motions"], ("motion", "clips", "too_fast")).markdown()
    )
