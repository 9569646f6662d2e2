"""What a checkpoint has learned from: the tasks whose train rows it saw, and whose texts were left out of them.

One task's train file can hold what another is scored on (STS-B and MRPC draw on the same pairs and split them
differently), so a checkpoint that saw the one may not start, teach or answer for the other.  result.json and a
card keep the list under `seen`: {"glue/stsb": ["glue/mrpc"]}, STS-B's train rows but for those with a text of MRPC's.
"""
from __future__ import annotations

from pathlib import Path

from . import corpus
from .bert import read_object
from .loop import TrainError
from .readers import read_split
from .tasks import TASKS, get

Seen = dict[str, list[str]]


def read(folder: Path) -> Seen:
    """Of a step's folder or a shipped checkpoint; nothing of public weights."""
    folder = Path(folder)
    for name in ("result.json", "card.json"):
        if (path := (folder if folder.is_dir() else folder.parent) / name).is_file():
            return read_object(path).get("seen", {})
    return {}


def merged(lists: list[Seen]) -> Seen:
    """All that was seen; left out is what every list leaves out."""
    out: Seen = {}
    for seen in lists:
        for task, without in seen.items():
            out[task] = sorted(set(out[task]) & set(without)) if task in out else sorted(without)
    return out


def check(folders: list[Path], task: str, root: Path) -> Seen:
    """What the folders have seen; an error if there is a text among it that `task` is scored or calibrated on."""
    texts: set[str] | None = None
    for folder in folders:
        for other, without in read(folder).items():
            if other == task or task in without or other not in TASKS:
                continue
            texts = corpus.held_out(root, [task]) if texts is None else texts
            rows = read_split(root, corpus.local(root, get(other)), "train")
            if shared := len(rows) - len(corpus.free_of(rows, texts)):
                raise TrainError(f"{folder} was trained on {other}, of whose train rows {shared} have a text that {task} "
                                 f"holds out (dev, test, calib): train it with --without {task}")
    return merged([read(folder) for folder in folders])
