"""Which runs and studies a report is about, told from the folders that were named. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmodal.errors import DamagedError, MissingError
from xmodal.paths import given
from xmodal.report.words import differing_versions
from xmodal.run.result import RESULT, made_with, mixed, read_result
from xmodal.study.reading import STUDY, differing, read_study, runs_of


@dataclass(frozen=True)
class FoundRun:
    """A run: its folder, and what `result.json` says."""

    folder: Path
    result: Mapping[str, Any]


@dataclass(frozen=True)
class FoundStudy:
    """A study: its folder, what `study.json` says, and what its runs' own files say otherwise.

    Attributes:
        folder: of `study.json`.
        said: what that holds.
        named: whether its folder itself was named, and not one that holds it.
        runs: those of its runs that are here and say what the study says of them, by their `folder` in `said`.
        missing: how many are not here.
    """

    folder: Path
    said: Mapping[str, Any]
    named: bool
    runs: Mapping[str, FoundRun] = field(default_factory=dict)
    missing: int = 0


@dataclass(frozen=True)
class Found:
    """What lies in the folders: runs, studies, and what cannot be read or believed among them."""

    runs: Sequence[FoundRun]
    studies: Sequence[FoundStudy]
    damaged: Sequence[DamagedError]

    def loose(self) -> list[FoundRun]:
        """The runs that belong to none of the studies."""
        taken = {run.folder.resolve() for study in self.studies for run in study.runs.values()}
        return [run for run in self.runs if run.folder.resolve() not in taken]


def gather(folders: Sequence[Path]) -> Found:
    """All runs and studies in or below `folders`, each once.

    Raises:
        MissingError: there are none, or one of `folders` is not there.
    """
    runs: dict[Path, FoundRun] = {}
    studies: dict[Path, FoundStudy] = {}
    damaged: dict[str, DamagedError] = {}
    for folder in (given(folder, "runs") for folder in folders):
        if not folder.is_dir():
            raise MissingError("no such folder of runs", where=str(folder), fix="name folders that xmodal train wrote")
        for place, kind in _places(folder):
            key = place.resolve()
            try:
                if kind == RESULT and (result := read_result(place)):
                    runs.setdefault(key, FoundRun(place, result))
                elif kind == STUDY and key not in studies:
                    studies[key] = FoundStudy(place, read_study(place), named=place == folder)
            except DamagedError as error:
                damaged.setdefault(str(key), error)
    whole = [_with_runs(study, damaged) for study in studies.values()]
    if not runs and not whole and not damaged:
        raise MissingError(
            "no finished run",
            where=", ".join(map(str, folders)),
            why=f"there is no {RESULT} and no {STUDY}",
            fix="xmodal train RECIPE",
        )
    return Found(list(runs.values()), whole, list(damaged.values()))


def _places(folder: Path) -> Iterator[tuple[Path, str]]:
    """Folders of runs and of studies in or below `folder`, in order; nothing is looked for inside them."""
    found = []
    for place, inner, files in os.walk(folder):
        if kind := next((name for name in (RESULT, STUDY) if name in files), ""):
            found.append((Path(place), kind))
            inner.clear()
    yield from sorted(found)


def _with_runs(study: FoundStudy, damaged: dict[str, DamagedError]) -> FoundStudy:
    """The study with those of its runs that are here; they lie beside its folder, OUT/studies/NAME-DIGEST."""
    out, runs, missing = study.folder.resolve().parent.parent, dict[str, FoundRun](), 0
    for run in runs_of(study.said):
        if not run["folder"]:
            continue  # it failed before it had one
        place = out / run["folder"]
        try:
            result = read_result(place)
            if result is None:
                missing += 1
            elif other := differing(run, result, place):
                raise DamagedError(
                    f"the run is no longer what the study {study.said['name']} says of it",
                    where=str(place / RESULT),
                    why=other,
                    fix="give the same xmodal ablate again: it judges the runs that are there",
                )
            else:
                runs[run["folder"]] = FoundRun(place, result)
        except DamagedError as error:
            damaged.setdefault(str(place), error)
    of, here = study.said["mixed"], mixed(made_with(run.folder) for run in runs.values())
    if other := [name for name, values in here.items() if not {*values} <= {*of.get(name, ())}]:
        damaged[str(study.folder)] = DamagedError(
            f"the runs are no longer made with what the study {study.said['name']} says",
            where=str(study.folder / STUDY),
            why="; ".join(differing_versions({name: here[name] for name in other[:3]})),
            fix="give the same xmodal ablate again: it judges the runs that are there, and marks what differs",
        )
    return FoundStudy(study.folder, study.said, study.named, runs, missing)
