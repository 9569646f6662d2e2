"""The command line: what each command does; data on stdout (JSON), progress on stderr."""
from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import yaml

from .options import parser


def _pairs(items: list[str]) -> dict:
    out = {}
    for item in items:
        key, eq, value = item.partition("=")
        if not eq:
            raise SystemExit(f"zeb-train: {item!r} is not KEY=VALUE")
        value = yaml.safe_load(value)
        try:
            value = float(value) if isinstance(value, str) else value     # 5e-5 is a string to YAML
        except ValueError:
            pass
        out[key] = value
    return out


def _of(kind, option: str, items: list[str], **more):
    """A settings class filled from KEY=VALUE."""
    values = {**more, **_pairs(items)}
    unknown = set(values) - set(kind.__dataclass_fields__)
    if unknown:
        raise ValueError(f"{option} has no {', '.join(sorted(unknown))}; it has {', '.join(kind.__dataclass_fields__)}")
    for key, value in values.items():
        if isinstance(getattr(kind, key, None), (int, float)) != isinstance(value, (int, float)):
            raise ValueError(f"{option} {key}={value}: of another type than {getattr(kind, key, None)!r}")
    return kind(**values)


def _vocab(args) -> Path:
    return args.vocab or args.data / "vocab/bert-base-uncased/vocab.txt"


def _settings(args):
    from .given import arguments
    from .loop import Settings
    settings = Settings.of({"seed": args.seed, "max_minutes": args.max_minutes, **_pairs(args.set)})
    settings.given = arguments(args, _vocab(args))
    return settings


def _fits(args) -> None:
    """Every id of the vocabulary must have a row in the word tables that it is looked up in."""
    from .bert import Config
    from .tokens import load
    words = load(_vocab(args)).get_vocab_size()
    for folder in (getattr(args, "start", None), getattr(args, "model", None), *(getattr(args, "teacher", None) or [])):
        path = Path(folder or "") / "config.json"
        if folder is not None and path.is_file() and Config.read(path).vocab_size < words:
            raise ValueError(f"{_vocab(args)}: {words} words, but {path} says vocab_size {Config.read(path).vocab_size}")


def _open(args):
    from . import lineage, pool
    from .dataset import open_task
    from .loop import TrainError, device_of
    least, path = getattr(args, "train_min_length", 0), getattr(args, "pool", None)
    _fits(args)
    before = lineage.check([f for f in (getattr(args, "start", None), path, *getattr(args, "teacher", ())) if f],
                           args.task, args.data)
    data = open_task(args.data, _vocab(args), args.task, device_of(args.device), args.max_length,
                     train_min=least, calib_min=args.min_length, transfer=getattr(args, "transfer", 0),
                     pooled=path is not None, without=getattr(args, "without", ()),
                     apart=getattr(args, "apart", False))
    data.seen = lineage.merged([before, data.seen])
    if path is not None:
        data.train = pool.read(path, data.train.device, least)
    elif args.command in ("distill", "prune") and not args.teacher:
        raise TrainError("a student needs --teacher or --pool")
    return data


def _label(args, settings) -> dict:
    from . import dataset, pool, store
    data = _open(args)
    result = pool.make(args.out, data, args.teacher, _vocab(args), settings.seed, pool.Recipe(
        args.copies, args.replace, args.join, args.swap, args.limit, args.own_copies, args.own_min_length, args.spoilt,
        args.mates))
    result["seen"] = data.seen
    result["calib"], _ = pool.score(args.teacher, data, data.calib)
    if args.evaluate:
        split = dataset.open_split(args.data, _vocab(args), args.task, args.evaluate, data.calib.device,
                                   args.max_length)
        result[args.evaluate], guesses = pool.score(args.teacher, data, split)
        store.write_json(args.out / "evaluation.json", {
            "fp32": {"metrics": result[args.evaluate], "predictions": guesses}})
    return result


def _finetune(args, settings) -> dict:
    from .finetune import finetune
    data = _open(args)
    return _scored(args, data, finetune(args.out.name, args.start, data, args.out, settings,
                                        args.freeze_words, args.agree))


def _intermediate(args, settings) -> dict:
    from . import intermediate
    from .loop import device_of
    return intermediate.run(args.out.name, args.start, args.data, _vocab(args), args.out,
                            settings, device_of(args.device), args.limit)


def _scored(args, data, result: dict) -> dict:
    """Adds what it has seen and, where --evaluate asks for it, the scores of what was just written."""
    result["seen"] = data.seen
    if args.evaluate:
        args.split, args.model = args.evaluate, args.out
        result[args.evaluate] = _evaluate(args, data)
    return result


def _start(args):
    from .distill import Start
    return Start(args.freeze_words, args.round_words, args.dropout, args.quant, args.ffn, args.keep_heads)


def _distill(args, settings) -> dict:
    from . import distill, lineage
    from .bert import Config
    from .loop import TrainError, device_of
    if args.task:
        if args.start is None:
            raise TrainError("a student needs --start, the checkpoint that it is before its lesson")
        data = _open(args)
        return _scored(args, data, distill.task(
            args.out.name, args.start, args.teacher, data, _vocab(args), args.out, settings,
            _of(distill.TaskLossWeights, "--weight", args.weight), _start(args)))
    if not args.teacher:
        raise TrainError("task-agnostic distillation needs --teacher")
    config = Config.read(args.config) if args.config else Config()
    return {**distill.general(args.out.name, args.teacher[0], config, args.data, _vocab(args), args.out, settings,
                              device_of(args.device), limit=args.limit), "seen": lineage.read(args.teacher[0])}


def _prune(args, settings) -> dict:
    from . import prune, static
    from .distill import TaskLossWeights
    data = _open(args)
    return _scored(args, data, prune.dynamic(
        args.out.name, args.start, args.teacher, data, _vocab(args), args.out, settings,
        _of(TaskLossWeights, "--weight", args.weight),
        _of(prune.PruneSettings, "--prune", args.prune, min_length=args.min_length), _start(args),
        _of(static.StructureSettings, "--structure", args.structure) if args.structure else None))


def _score(args) -> dict:
    from . import dataset, store, tasks
    from .loop import device_of
    task = tasks.get(args.task)
    data = dataset.open_split(args.data, _vocab(args), args.task, args.split,
                              device_of(args.device), args.max_length)
    out = {}
    for folder in args.model:
        model = store.load_for(folder, task).to(data.device)
        out[str(folder)] = dataset.measure(task, model, data, precise=True)
    return out


def _evaluate(args, data=None) -> dict:
    from . import dataset, evaluate, store
    data = data or _open(args)
    split = dataset.open_split(args.data, _vocab(args), args.task, args.split, data.train.device,
                               args.max_length)
    out = evaluate.variants(args.model, data, split, args.format, args.target, args.min_length)
    store.write_json(args.out / "evaluation.json", out)
    return {k: {"metrics": v["metrics"], "cost": v.get("cost")} for k, v in out.items()}


def _program(path: Path) -> Path:
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise FileNotFoundError(f"{path}: no such program (--zeb)")
    return path.resolve()


def _scored_by_zeb(args) -> dict:
    from . import scoring
    out = scoring.score(args.out, args.task, args.split, args.format, args.data, _vocab(args), _program(args.zeb),
                        args.zeb_device, args.db or args.out.parent / "results.db", args.max_length)
    return {k: {"metrics": v["metrics"]} for k, v in out.items()}


def _quantize(args) -> dict:
    from . import ptq, tasks
    data = _open(args) if args.task else None
    labels = tasks.get(args.task).labels if args.task else ("0", "1")
    return ptq.quantize(args.model, args.out, args.format, args.method, data, labels, args.budget)


def _calibrate(args) -> dict:
    from . import ptq
    return ptq.calibrate_policy(args.model, _open(args), args.name, args.mode, args.target,
                                args.score_budget, args.exits, args.agreement, args.out)


def _export(args) -> dict:
    from .export import export
    return export(args.model, args.out, args.task, _vocab(args), args.data, args.dtype, args.facts,
                  args.emissions, weights=args.weights, embeddings=args.embeddings, words=args.words, pooler=args.pooler,
                  positions=args.positions, vocabulary=args.vocabulary, zeb=args.zeb and _program(args.zeb),
                  zeb_device=args.zeb_device)


def _recipe(args) -> dict:
    from . import recipe
    places = {"data": str(args.data), "minilm": str(args.minilm), "mpnet": str(args.mpnet), "work": str(args.work),
              "vocab": str(_vocab(args)), "here": str(args.recipe.parent)}
    common = ["--data", str(args.data), "--vocab", str(_vocab(args)), "--device", args.device,
              *(f"--{half}" for half in ("bf16", "fp16") if getattr(args, half))]
    made = recipe.read(args.recipe, places)
    for step in made["steps"]:                   # a slip in the last step is not found out when all others are done
        try:
            parser().parse_args(recipe.command(step, args.work, common)[3:])
        except SystemExit:
            raise ValueError(f"{args.recipe}: step {step['id']} is no command (see above)") from None
    failed = recipe.run(made, args.work, common, args.jobs, args.only,
                        not args.no_energy, args.country, args.zeb and _program(args.zeb), args.zeb_device)
    return {"failed": failed}


def _table(args) -> str:
    from . import table
    if not args.work.is_dir():
        raise FileNotFoundError(f"{args.work}: no such work folder")
    return json.dumps(table.compact(args.work), indent=1) if args.json else table.markdown(args.work, args.data)


def _leave(*_) -> None:
    raise SystemExit(143)


def _train(args, does) -> dict:
    """What is there already is shown, if these settings made it."""
    from . import energy, loop, store
    settings, path = _settings(args), args.out / "result.json"
    made = settings.made_by()
    if path.is_file():
        before = json.loads(path.read_text())
        loop.agree(path, before.get("settings", {}), made)
        return before
    if not os.access(args.out, os.W_OK):                             # not found out when all is done
        raise PermissionError(f"{args.out}: cannot be written to")
    arguments = {k: str(v) for k, v in vars(args).items()}
    with energy.tracked(args.out, f"zeb-train {args.command}", args.country, not args.no_energy):
        result = does(args, settings)
    result |= {"arguments": arguments, "settings": made}
    store.write_json(path, result)
    (args.out / "training.pt").unlink(missing_ok=True)
    return result


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    from . import loop, process
    loop.compute_in(args.bf16, args.fp16)
    from .loop import TrainError
    from .readers import DataError
    does = {"finetune": _finetune, "intermediate": _intermediate, "label": _label, "distill": _distill,
            "prune": _prune, "quantize": _quantize, "calibrate": _calibrate, "score": _score,
            "evaluate": _evaluate, "scored": _scored_by_zeb, "export": _export, "table": _table,
            "recipe": _recipe}[args.command]
    trains = args.command in ("finetune", "intermediate", "label", "distill", "prune")
    from .loop import stop_at_next_step
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:          # nohup
            signal.signal(number, stop_at_next_step if trains and args.command != "label" else _leave)
    try:
        folder = hasattr(args, "out") and args.command != "calibrate"     # which writes a file
        with process.alone(args.out) if folder else nullcontext():
            result = _train(args, does) if trains else does(args)
    except (DataError, TrainError, OSError, KeyError, ValueError, yaml.YAMLError) as e:
        print(f"zeb-train: {e.args[0] if isinstance(e, KeyError) else e}", file=sys.stderr)
        return 1
    print(result if isinstance(result, str) else json.dumps(result, indent=2))
    return 1 if args.command == "recipe" and result["failed"] else 0
