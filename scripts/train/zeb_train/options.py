"""What the commands of zeb-train take: one table of options."""
from __future__ import annotations

import argparse
import os
from pathlib import Path


def _common(p: argparse.ArgumentParser, train: bool = True) -> None:
    p.add_argument("--data", type=Path, default=Path(os.environ.get("ZEB_DATA", "data")),
                   help="folder with glue/ and superglue/ (default: $ZEB_DATA)")
    p.add_argument("--vocab", type=Path, help="vocab.txt (default: the one below --data)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda")
    half = p.add_mutually_exclusive_group()
    half.add_argument("--bf16", action="store_true", help="bf16 on the CPU too (CUDA always has it)")
    half.add_argument("--fp16", action="store_true", help="fp16 with scaled gradients in its place, for GPUs without bf16")
    p.add_argument("--no-energy", action="store_true", help="do not track energy with CodeCarbon")
    p.add_argument("--country", default="", help="ISO3 country of the machine, for the intensity")
    if train:
        p.add_argument("--out", type=Path, required=True, help="folder to write")
        p.add_argument("--seed", type=int, default=1)
        p.add_argument("--max-minutes", type=float, default=0.0)
        p.add_argument("--max-length", type=int, default=128)
        p.add_argument("--evaluate", metavar="SPLIT", help="score this split once, at the end")
        p.add_argument("--format", action="append", default=[], help="see evaluate --help")
        p.add_argument("--target", type=float, action="append", default=[])
        p.add_argument("--min-length", type=int, default=0,
                       help="rows that stand for the task when costs are fitted and choices made")
        p.add_argument("--transfer", type=int, default=0,
                       help="unlabelled rows of other tasks' train texts to learn the teacher on")
        p.add_argument("--train-min-length", type=int, default=0, help="leave shorter rows out")
        p.add_argument("--apart", action="store_true",
                       help="leave out train rows that hold a calib text or stand in one (of a pool: when it is made)")
        p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                       help="a training setting: epochs, batch, lr, warmup, evals, ...")


def _zeb(p: argparse.ArgumentParser, required: bool = False) -> None:
    p.add_argument("--zeb", type=Path, required=required, help="zeb program that scores, not PyTorch")
    p.add_argument("--zeb-device", default="cpu", help="device that it scores on")


def _without(p: argparse.ArgumentParser) -> None:
    p.add_argument("--without", action="append", default=[], metavar="TASK",
                   help="leave out train rows that have a text of TASK's dev, test or calib: for what goes on to that task")


def _student(p: argparse.ArgumentParser) -> None:
    p.add_argument("--freeze-words", action="store_true")
    p.add_argument("--round-words", nargs="?", const="int8", default="", metavar="FORMAT",
                   help="word embeddings as that format stores them (int8 if none is named), from the start")
    p.add_argument("--dropout", type=float, default=0.05)
    p.add_argument("--ffn", type=int, default=0, help="first remove FFN neurons down to so many a layer")
    p.add_argument("--keep-heads", type=int, default=0, help="first remove heads down to so many a layer")
    p.add_argument("--quant", default="", help="train quantisation-aware: int8, int4, int4-64")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="zeb-train", description=(
        "Train, distil, prune, quantise, calibrate and export checkpoints for zeb."))
    sub = top.add_subparsers(dest="command", required=True)

    p = sub.add_parser("finetune", help="fine-tune a checkpoint on a task")
    _common(p)
    p.add_argument("--task", required=True)
    p.add_argument("--start", type=Path, required=True, help="checkpoint folder to start from")
    p.add_argument("--freeze-words", action="store_true", help="keep the word embeddings")
    p.add_argument("--agree", type=float, default=0.0, help="weight of R-Drop's agreement of two passes")
    _without(p)

    p = sub.add_parser("label", help="a task's pool: texts for its students, answered by its teachers")
    _common(p)
    p.add_argument("--task", required=True)
    p.add_argument("--teacher", type=Path, action="append", required=True)
    p.add_argument("--copies", type=int, default=4, help="augmented copies of every text")
    p.add_argument("--own-copies", type=int, default=0, help="and so many more of every labelled text")
    p.add_argument("--own-min-length", type=int, default=0, help="of those that are so long")
    p.add_argument("--spoilt", type=int, default=0, help="spoilt copies of every single text: slips of grammar")
    p.add_argument("--replace", type=float, default=0.2, help="mean share of words replaced in copies")
    p.add_argument("--join", type=float, default=0.0, help="this share of the single texts joined two by two")
    p.add_argument("--swap", action="store_true", help="pairs in the other order as well")
    p.add_argument("--limit", type=int, default=0, help="at most so many texts before copies")
    p.add_argument("--mates", type=int, default=0, help="pairs: each first text beside so many near second texts as well")
    _without(p)

    p = sub.add_parser("intermediate", help="a public encoder taught by many lessons before any task")
    _common(p)
    p.add_argument("--start", type=Path, required=True)
    p.add_argument("--limit", type=int, default=0, help="at most so many texts of each kind")

    p = sub.add_parser("distill", help="distil a teacher, on a task or (no --task) on plain text")
    _common(p)
    p.add_argument("--task")
    p.add_argument("--teacher", type=Path, action="append", default=[],
                   help="teacher checkpoint; several are averaged")
    p.add_argument("--pool", type=Path, help="learn from this pool (see label) instead")
    p.add_argument("--start", type=Path, help="student to start from (task)")
    p.add_argument("--config", type=Path, help="config.json of the student (plain text)")
    p.add_argument("--weight", action="append", default=[], metavar="KEY=VALUE",
                   help="a loss weight: label, logits, hidden, temperature, augmented, replace")
    _student(p)
    p.add_argument("--limit", type=int, default=0, help="at most about so many texts")

    p = sub.add_parser("prune", help="distil a dynamically sparse student: tokens, heads")
    _common(p)
    p.add_argument("--task", required=True)
    p.add_argument("--teacher", type=Path, action="append", default=[])
    p.add_argument("--pool", type=Path, help="learn from this pool (see label) instead")
    p.add_argument("--start", type=Path, required=True)
    p.add_argument("--weight", action="append", default=[], metavar="KEY=VALUE")
    p.add_argument("--prune", action="append", default=[], metavar="KEY=VALUE",
                   help="target, mode (threshold, relative, ratio, dense), heads, min_length, soft_from, hard_from")
    p.add_argument("--structure", action="append", default=[], metavar="KEY=VALUE",
                   help="first learn which heads and FFN neurons to keep: target (of the work), share (of the run), "
                   "multiple (of neurons)")
    _student(p)

    p = sub.add_parser("score", help="score checkpoints on a split, in fp32")
    _common(p, train=False)
    p.add_argument("--task", required=True)
    p.add_argument("--split", default="dev")
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("model", type=Path, nargs="+")

    p = sub.add_parser("evaluate", help="score a model, its number formats and free policies")
    _common(p, train=False)
    p.add_argument("--task", required=True)
    p.add_argument("--split", default="dev")
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True, help="folder for evaluation.json")
    p.add_argument("--format", action="append", default=[],
                   help="int8, int4, int4-64, int4-a16, int4-gptq")
    p.add_argument("--target", type=float, action="append", default=[],
                   help="cost of a training-free policy fitted on calib")
    p.add_argument("--min-length", type=int, default=0)

    p = sub.add_parser("scored", help="score a split with zeb, in fp32 and --format; a recipe's --zeb does it")
    _common(p, train=False)
    _zeb(p, required=True)
    p.add_argument("--task", required=True)
    p.add_argument("--split", default="dev")
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--out", type=Path, required=True, help="checkpoint; its evaluation.json is written, and NAME.scored")
    p.add_argument("--format", action="append", default=[], help="int8, int4, int4-a16")
    p.add_argument("--db", type=Path, help="database of results (default: results.db beside --out)")

    p = sub.add_parser("export", help="write the shipped form: fp16 or codes, vocabulary, card")
    _common(p, train=False)
    p.add_argument("--task", required=True)
    p.add_argument("--model", type=Path, action="append", required=True,
                   help="checkpoint; of several, the best on calib")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--dtype", choices=("f16", "bf16", "f32"), default="f16")
    formats = ("keep", "int8", "int4", "int4-64")
    p.add_argument("--weights", choices=formats, default="keep",
                   help="the encoder's matrices; keep: --dtype, or codes if they are stored so")
    p.add_argument("--embeddings", choices=formats, default="keep",
                   help="int4: the word table; positions and types are int8 then")
    p.add_argument("--pooler", choices=formats, default="keep", help="the pooler's matrix")
    p.add_argument("--positions", type=int, default=0, help="rows of the position table to keep; 0: all")
    p.add_argument("--words", type=Path, help="safetensors file beside --out's folder that holds the word table of "
                   "several checkpoints; made if missing")
    p.add_argument("--vocabulary", type=Path, help="vocab.txt beside --out's folder that several checkpoints share "
                   "(a link leads there); made if missing")
    p.add_argument("--facts", type=Path, help="YAML with what the card says besides")
    p.add_argument("--emissions", type=Path, help="emissions.csv of the whole chain")
    _zeb(p)

    p = sub.add_parser("quantize", help="post-training INT8, INT4 or a mix of both")
    _common(p, train=False)
    p.add_argument("--task", help="where GPTQ and the mix are chosen (its calib rows)")
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--format", default="int8", help="int8, int4, int4-64, mixed")
    p.add_argument("--method", choices=("rtn", "gptq"), default="rtn")
    p.add_argument("--budget", type=float, default=0.005, help="mixed: of calib's metric")
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--min-length", type=int, default=0)

    p = sub.add_parser("calibrate", help="write a training-free policy beside a checkpoint")
    _common(p, train=False)
    p.add_argument("--task", required=True)
    p.add_argument("--model", type=Path, required=True)
    p.add_argument("--out", type=Path, help="policy file to write (default: the model's policy.json, where it has none); "
                   "heads of exits go beside it, as NAME.exits.safetensors")
    p.add_argument("--name", default="calibrated")
    p.add_argument("--mode", choices=("threshold", "relative", "ratio", "dense"), default="ratio")
    p.add_argument("--exits", type=lambda text: [int(i) for i in text.split(",")], default=None,
                   help="layers behind which sure sequences leave, as 0,1,2; their heads are fitted on train")
    p.add_argument("--agreement", type=float, default=0.99,
                   help="of the results with the whole model's on calib, with the exits")
    p.add_argument("--target", type=float, default=0.5, help="cost, executed over dense")
    p.add_argument("--score-budget", type=float, default=0.0,
                   help="also zero attention scores, within this loss of calib's metric")
    p.add_argument("--max-length", type=int, default=128)
    p.add_argument("--min-length", type=int, default=0)

    p = sub.add_parser("table", help="results of a recipe's work folder, as Markdown or JSON")
    _common(p, train=False)
    p.add_argument("work", type=Path)
    p.add_argument("--json", action="store_true")

    p = sub.add_parser("recipe", help="run a recipe: every step of a shipped checkpoint")
    _common(p, train=False)
    p.add_argument("recipe", type=Path)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--minilm", type=Path, default=Path("minilm"), help="MiniLM-L6-H384 folder")
    p.add_argument("--mpnet", type=Path, default=Path("mpnet"), help="all-mpnet-base-v2 folder, for teachers")
    p.add_argument("--jobs", type=int, default=1, help="steps side by side, spread over the GPUs at hand")
    p.add_argument("--only", action="append", default=[], help="this step and what it needs")
    _zeb(p)
    return top
