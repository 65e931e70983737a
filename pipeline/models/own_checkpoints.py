"""What a user does with checkpoints: rename and delete those of this machine, hide any of them in Compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pipeline.files import write_atomically
from pipeline.models.checkpoints import check_name, checkpoints_dir, list_checkpoints, says_other
from pipeline.models.families import Family
from pipeline.models.model_files import read_json_object
from pipeline.schema import Checkpoint, FieldError, LabError, quoted
from pipeline.settings import Settings

_HIDDEN = "hidden-checkpoints.json"


def find_checkpoint(settings: Settings, family: Family, name: str) -> Checkpoint:
    """Return a checkpoint by name; raise ``LabError`` if there is none."""
    known = {one.name: one for one in list_checkpoints(settings, family)}
    if name not in known:
        raise LabError(
            f"There is no checkpoint {quoted(name)} of {family.name}. There are: {', '.join(known)}."
        )
    return known[name]


def is_own(checkpoint: Checkpoint) -> bool:
    """Whether it was trained on this machine or imported, so that it may be renamed and deleted."""
    return checkpoint.origin in ("trained", "imported")


def rename_checkpoint(settings: Settings, family: Family, name: str, new_name: str) -> Checkpoint:
    """Give a checkpoint of this machine another name. Its stored runs keep the old one.

    Raises:
        FieldError: the new name cannot be, is taken, or says something else than the checkpoint is.
        LabError: there is no such checkpoint, or it is not of this machine.
    """
    checkpoint = _own(settings, family, name, "renamed")
    check_free(settings, family, new_name, "new_name")
    if other := says_other(new_name, checkpoint):
        raise FieldError("new_name", other)
    assert checkpoint.path
    checkpoint.path.rename(checkpoint.path.with_name(new_name))
    return find_checkpoint(settings, family, new_name)


def delete_checkpoint(settings: Settings, family: Family, name: str) -> None:
    """Delete the folder of a checkpoint of this machine. Its stored runs stay.

    Raises:
        LabError: there is no such checkpoint, it is not of this machine, or its folder cannot be deleted.
    """
    checkpoint = _own(settings, family, name, "deleted")
    assert checkpoint.path
    try:
        shutil.rmtree(checkpoint.path)
    except OSError as error:
        raise LabError(f"Checkpoint {name} cannot be deleted: {error}") from error


def check_free(settings: Settings, family: Family, name: str, field: str = "name") -> None:
    """Raise ``FieldError`` for this field if no new checkpoint can have the name."""
    try:
        check_name(name)
    except ValueError as error:
        raise FieldError(field, f"{error}.") from error
    taken = checkpoints_dir(settings, family) / name
    # Some disks take names that differ in the case of letters only for the same.
    names = {one.name.lower(): one.name for one in list_checkpoints(settings, family)}
    if taken.exists() or name.lower() in names:
        there = names.get(name.lower(), name)
        raise FieldError(field, f"must be another one: there is a checkpoint {there} already.")


def hidden_checkpoints(settings: Settings, family: Family) -> frozenset[str]:
    """Names of the checkpoints that Compare does not offer."""
    return frozenset(_read_hidden(settings).get(family.name, ()))


def hide_checkpoint(settings: Settings, family: Family, name: str, hidden: bool = True) -> None:
    """Let Compare offer a checkpoint no more, or again. Nothing is deleted.

    Raises:
        LabError: there is no such checkpoint, or it is the baseline.
    """
    if find_checkpoint(settings, family, name).is_baseline:
        raise LabError("The baseline cannot be hidden: everything is compared with it.")
    every = _read_hidden(settings)
    names = set(every.get(family.name, ()))
    names = names | {name} if hidden else names - {name}
    write_atomically(_file(settings), json.dumps({**every, family.name: sorted(names)}, indent=1))


def _own(settings: Settings, family: Family, name: str, what: str) -> Checkpoint:
    checkpoint = find_checkpoint(settings, family, name)
    if not is_own(checkpoint):
        raise LabError(
            f"Checkpoint {name} cannot be {what}: it was not trained or imported on this machine. It can be "
            "hidden in Compare."
        )
    return checkpoint


def _file(settings: Settings) -> Path:
    return settings.data_dir / _HIDDEN


def _read_hidden(settings: Settings) -> dict[str, list[str]]:
    """The hidden names by family; none if the file is missing or damaged: then all are offered."""
    try:
        raw = read_json_object(_file(settings))
    except (OSError, ValueError):
        return {}
    return {
        family: [name for name in names if isinstance(name, str)]
        for family, names in raw.items()
        if isinstance(names, list)
    }
