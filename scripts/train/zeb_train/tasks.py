"""The GLUE and SuperGLUE tasks: where a split lies, which columns it has, what its labels mean.

A task is data, not code: the readers interpret this table.  Names, splits and files are those of zeb's own tables
(suites/glue/glue.c, suites/superglue/superglue.c), and so are the label ids, the order of `labels`: a checkpoint's
classes mean the same to both.  A task with `labels=None` is a regression.
"""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    name: str
    folder: str
    files: dict[str, str]              # split -> file name
    layout: str                        # tsv | cola | jsonl | multirc | copa | wsc | wic | record
    a: str = ""                        # column (or key) of the first text
    b: str = ""                        # of the second, empty for single sentences
    label: str = "label"
    labels: tuple[str, ...] | None = ("0", "1")
    least: float = 0.0                 # of a regression's scores
    most: float = 5.0
    metrics: tuple[str, ...] = ("accuracy",)
    optional: tuple[str, ...] = field(default=())   # splits whose labels are withheld
    columns: dict[str, tuple[str, str, str]] = field(default_factory=dict)   # split -> its own a, b, label
    pairs: bool = False                # every two rows are a group

    @property
    def num_labels(self) -> int:
        return 1 if self.labels is None else len(self.labels)

    @property
    def is_question(self) -> bool:
        """Whether an answer is several rows (and a record as many)."""
        return self.layout in ("copa", "multirc", "record")

    @property
    def is_pair(self) -> bool:
        return self.layout in ("multirc", "copa", "wsc", "wic", "record") or bool(self.b)


def _glue(name: str, folder: str, a: str, b: str = "", **kw) -> Task:
    files = kw.pop("files", {s: f"{s}.tsv" for s in ("train", "dev", "test")})
    return Task("glue/" + name, "glue/" + folder, files, kw.pop("layout", "tsv"), a, b,
                optional=("test",), **kw)


def _super(name: str, folder: str, a: str = "", b: str = "", **kw) -> Task:
    files = kw.pop("files", {"train": "train.jsonl", "dev": "val.jsonl", "test": "test.jsonl"})
    return Task("superglue/" + name, "superglue/" + folder, files, kw.pop("layout", "jsonl"), a, b,
                optional=("test",), **kw)


_NLI2 = ("entailment", "not_entailment")
_NLI3 = ("entailment", "neutral", "contradiction")
_CB = ("entailment", "contradiction", "neutral")
_BOOL = ("false", "true")
_PAIR = {"a": "sentence1", "b": "sentence2"}

TASKS: dict[str, Task] = {t.name: t for t in (
    _glue("cola", "CoLA", "sentence", layout="cola", metrics=("mcc", "accuracy")),
    _glue("sst2", "SST-2", "sentence"),
    _glue("mrpc", "MRPC", "#1 String", "#2 String", label="Quality", metrics=("accuracy", "f1")),
    _glue("stsb", "STS-B", **_PAIR, label="score", labels=None, metrics=("pearson", "spearman")),
    _glue("qqp", "QQP", "question1", "question2", label="is_duplicate",
          metrics=("accuracy", "f1")),
    _glue("mnli", "MNLI", **_PAIR, label="gold_label", labels=_NLI3,
          files={"train": "train.tsv", "dev": "dev_matched.tsv", "test": "test_matched.tsv"}),
    _glue("mnli-mm", "MNLI", **_PAIR, label="gold_label", labels=_NLI3,
          files={"dev": "dev_mismatched.tsv", "test": "test_mismatched.tsv"}),
    _glue("qnli", "QNLI", "question", "sentence", labels=_NLI2),
    _glue("rte", "RTE", **_PAIR, labels=_NLI2),
    _glue("wnli", "WNLI", **_PAIR),
    _glue("ax", "AX", **_PAIR, label="gold_label", labels=_NLI3, metrics=("mcc", "accuracy"),
          files={"diagnostic": "diagnostic-full.tsv", "test": "AX.tsv"},
          columns={"diagnostic": ("Premise", "Hypothesis", "Label")}),
    _super("boolq", "BoolQ", "passage", "question", labels=_BOOL),
    _super("cb", "CB", "premise", "hypothesis", labels=_CB, metrics=("accuracy", "macro_f1")),
    _super("copa", "COPA", layout="copa"),
    _super("multirc", "MultiRC", layout="multirc", metrics=("em", "f1a")),
    _super("record", "ReCoRD", layout="record", label="answers", metrics=("em",)),
    _super("rte", "RTE", "premise", "hypothesis", labels=_NLI2),
    _super("wic", "WiC", layout="wic", labels=_BOOL),
    _super("wsc", "WSC", layout="wsc", labels=_BOOL),
    _super("ax-b", "AX-b", **_PAIR, labels=_NLI2, metrics=("mcc", "accuracy"),
           files={"diagnostic": "AX-b.jsonl"}),
    _super("ax-g", "AX-g", "premise", "hypothesis", labels=_NLI2, metrics=("accuracy", "gender_parity"),
           files={"diagnostic": "AX-g.jsonl"}, pairs=True),
)}


def get(name: str) -> Task:
    if name not in TASKS:
        raise KeyError(f"unknown task {name!r}; known: {', '.join(sorted(TASKS))}")
    return TASKS[name]
