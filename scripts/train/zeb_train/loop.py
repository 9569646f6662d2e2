"""The training loop: seeded, resumable after SIGKILL, bounded in time, stopped by a loss that is not finite.

A step is a pure function of (weights, optimiser, seed, step): batch plans, augmentation and dropout all
derive their randomness from the step's number.  So a run resumed from its last state continues exactly
as the uninterrupted one would have (wall-clock limits aside).
"""
from __future__ import annotations

import math
import re
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from torch import nn

from . import store
from .record import Recorder, Steps


class TrainError(RuntimeError):
    """Training cannot go on; what was saved before stays."""


@dataclass
class Settings:
    seed: int = 1
    epochs: float = 3
    steps: int = 0                  # > 0: so many, instead of epochs
    batch: int = 32
    tokens: int = 0                 # > 0: bound rows x longest of a batch instead
    lr: float = 5e-5
    warmup: float = 0.06
    weight_decay: float = 0.01
    clip: float = 1.0
    accumulate: int = 1
    evals: int = 8                  # evaluations in the whole run, the last at its end
    patience: int = 0               # evaluations without a gain before stopping; 0 never
    max_minutes: float = 0.0        # 0: no limit; the learning rate then falls by the clock too
    save_seconds: float = 120.0
    log_seconds: float = 10.0
    groups: dict = field(default_factory=dict)    # parameter-name prefix -> learning-rate factor
    layer_decay: float = 1.0        # learning-rate factor a layer further from the head
    average: float = 0.0            # decay of a running mean of the weights, which is what is kept
    record: bool = True             # on CUDA: steps that can be are recorded once and replayed (record.py)
    given: dict = field(default_factory=dict)     # what else the run was told (given.py)

    def total(self, per_epoch: int) -> int:
        return self.steps or max(1, int(per_epoch * self.epochs))

    def made_by(self) -> dict:
        """What the result depends on."""
        out = asdict(self)
        for name in ("save_seconds", "log_seconds", "record"):
            del out[name]
        return out.pop("given") | out

    @classmethod
    def of(cls, values: dict) -> "Settings":
        unknown = set(values) - set(cls.__dataclass_fields__) | set(values) & {"given"}
        if unknown:
            raise TrainError(f"unknown training setting: {', '.join(sorted(unknown))}")
        for key, value in values.items():
            least = 1 if key in ("batch", "accumulate") else 0
            if isinstance(getattr(cls, key, None), (int, float)) and not (
                    isinstance(value, (int, float)) and least <= value < math.inf):
                raise TrainError(f"training setting {key}={value}: a number from {least} up is needed")
        return cls(**values)


def agree(made: Path, was: dict, now: dict) -> None:
    """An error if `made`, a state or a result, came of other settings.  One of before some were kept has them not: what
    they were is not known."""
    other = [f"{k} {_text(was[k])} (now {_text(v)})" for k, v in now.items() if k in was and was[k] != v]
    if other:
        raise TrainError(f"{made}: was trained with {', '.join(other)}; go on with that, choose another --out, or remove "
                         f"{made.parent} to begin anew")
    if unknown := sorted(now.keys() - was.keys()):
        log(f"{made}: does not say what it was made with ({', '.join(unknown)}): taken to be the same")


def _text(value) -> str:
    return "(nothing)" if value in ("", {}) else str(value)


_LAYER = re.compile(r"\.layer\.(\d+)\.")
_stop = 0


def stop_at_next_step(number: int = signal.SIGTERM, _=None) -> None:
    """A signal handler: the loop saves its state between two steps and leaves; who cannot wait presses Ctrl-C twice.
    (SIGTERM can come twice by itself: to the group of a recipe's processes, and from the recipe.)"""
    global _stop
    if _stop == signal.SIGINT == number:
        raise SystemExit(130)
    _stop = number


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def device_of(name: str = "auto") -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise TrainError(f"--device {name}: auto, cpu or cuda are known") from None
    if device.type == "cuda":
        seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= seen:
            raise TrainError(f"--device {name}: there is no such device here, or PyTorch does not see it (it sees {seen})")
    return device


half = torch.bfloat16               # --fp16: float16, whose gradients are scaled
cpu_half = False                    # --bf16, --fp16: also on a CPU (bf16 is worth it where it has AMX)


def compute_in(bf16: bool, fp16: bool) -> None:
    """Before anything is computed, for the whole process."""
    global half, cpu_half
    half, cpu_half = torch.float16 if fp16 else torch.bfloat16, bf16 or fp16


def autocast(device: torch.device):
    return torch.autocast(device.type, half, enabled=device.type == "cuda" or cpu_half)


def frozen_dtype(device: torch.device) -> torch.dtype:
    """Of models that only answer: half on CUDA, which spares the casts of autocast."""
    return half if device.type == "cuda" else torch.float32


def _optimiser(module: nn.Module, s: Settings) -> torch.optim.Optimizer:
    groups: dict[tuple[float, bool], list] = {}
    layers = sum(name.endswith("intermediate.dense.weight") for name, _ in module.named_parameters())
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        factor = next((f for prefix, f in s.groups.items() if name.startswith(prefix)), 1.0)
        factor *= s.layer_decay ** _distance(name, layers)
        groups.setdefault((factor, p.ndim >= 2), []).append(p)
    cuda = any(p.is_cuda for p in module.parameters())
    return torch.optim.AdamW(
        [{"params": ps, "factor": f, "weight_decay": s.weight_decay if decay else 0.0}
         for (f, decay), ps in groups.items()], lr=s.lr, eps=1e-6, fused=cuda, capturable=cuda)


def _distance(name: str, layers: int) -> int:
    """Layers between a parameter and the head: 0 in the last layer and after it."""
    at = _LAYER.search(name)
    return layers - 1 - int(at[1]) if at else layers if ".embeddings." in name else 0


def _rate(progress: float, warmup: float) -> float:
    if progress < warmup:
        return progress / warmup
    return max(0.0, (1.0 - progress) / (1.0 - warmup))


class Loop:
    """Trains `module` in place.

    plan(epoch) -> batches of row numbers; loss(rows, step, progress) -> scalar, or Steps over such rows;
    evaluate() -> number, higher is better (None: the last weights are kept); keep: what of the module is kept as best.
    """

    def __init__(self, name: str, folder: Path, module: nn.Module, settings: Settings,
                 device: torch.device, plan: Callable, loss: Callable | Steps, evaluate: Callable | None,
                 keep: nn.Module | None = None):
        self.name, self.folder, self.module, self.s = name, Path(folder), module, settings
        self.device, self.plan, self.loss, self.evaluate = device, plan, loss, evaluate
        self.keep = keep or module
        self.optimiser = _optimiser(module, settings)
        self.scaler = torch.amp.GradScaler(device.type, enabled=half == torch.float16)
        self.step, self.elapsed, self.best, self.stale = 0, 0.0, -math.inf, 0
        self.best_state: dict | None = None
        self.mean: dict | None = self._weights() if settings.average else None
        self.history: list[dict] = []
        # What changes from step to step: the groups' learning rates, and the weight of a step in the running mean.
        self.pace = torch.zeros(len(self.optimiser.param_groups) + 1, device=device)
        self.recorder = None
        if (isinstance(loss, Steps) and loss.record and settings.record and device.type == "cuda" and settings.accumulate == 1
                and not self.scaler.is_enabled()):
            self.recorder = Recorder(loss, settings.batch, self._descend)

    def _weights(self) -> dict:
        return {k: v.detach().clone() for k, v in self.keep.state_dict().items()}

    # -- state ---------------------------------------------------------------------------------
    @property
    def state_path(self) -> Path:
        return self.folder / "training.pt"

    def save(self) -> None:
        """The state, if it is a good one."""
        self._check_weights()
        store.save_training(self.state_path, {
            "module": self.module.state_dict(), "optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict(),
            "step": self.step, "elapsed": self.elapsed, "best": self.best, "stale": self.stale,
            "best_state": self.best_state, "mean": self.mean, "history": self.history, "seed": self.s.seed,
            "settings": self.s.made_by()})

    def _kept(self) -> str:
        return (f"the last good state is kept in {self.folder}" if self.state_path.is_file()
                else "no state had been saved yet")

    def resume(self) -> bool:
        saved = store.load_training(self.state_path, self.device)
        if saved is None:
            return False
        agree(self.state_path, {"seed": saved["seed"], **saved.get("settings", {})}, self.s.made_by())
        self.module.load_state_dict(saved["module"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if bool(saved.get("scaler")) != self.scaler.is_enabled():
            raise TrainError(f"{self.state_path}: was trained {'with' if saved.get('scaler') else 'without'} --fp16")
        self.scaler.load_state_dict(saved.get("scaler", {}))
        for name in ("step", "elapsed", "best", "stale", "best_state", "mean", "history"):
            setattr(self, name, saved[name])
        log(f"{self.name}: resumed at step {self.step}")
        return True

    # -- running -------------------------------------------------------------------------------
    def run(self) -> dict:
        self.resume()
        if self.device.type != "cuda":
            return self._run()
        with torch.cuda.device(self.device):         # streams and graphs are of the current one
            aside = torch.cuda.Stream()              # steps cannot be recorded on the default stream
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                result = self._run()
            torch.cuda.synchronize()
        return result

    def _run(self) -> dict:
        s = self.s
        per_epoch = len(self.plan(0))
        total = s.total(per_epoch)
        began = saved = logged = time.monotonic()
        base, batches, at_epoch = self.elapsed, None, -1
        losses: list[torch.Tensor] = []
        self.module.train()
        while self.step < total:
            now = time.monotonic()
            self.elapsed = base + now - began
            if _stop:
                self._check(losses, self.step / total)
                self.save()
                raise SystemExit(143)
            progress = self.step / total
            if s.max_minutes:
                progress = max(progress, self.elapsed / (60 * s.max_minutes))
                if progress >= 1.0:
                    log(f"{self.name}: time limit at step {self.step}/{total}")
                    break
            epoch, place = divmod(self.step, per_epoch)
            if epoch != at_epoch:
                batches, at_epoch = self.plan(epoch), epoch
            # Plans that bound tokens differ by a few batches from epoch to epoch.
            losses.append(self._update(batches[place % len(batches)], progress))
            self.step += 1
            if now - logged > s.log_seconds:
                self._check(losses, progress)
                losses, logged = [], now
            better = False
            if self._due(self.step / total, progress):
                self._check(losses, progress)            # nothing is best that came of a loss that is not finite
                losses, best = [], self.best
                if self._evaluate(progress):
                    break
                better = self.best > best and self.step < total      # the last step's is written as the result
            if better or now - saved > s.save_seconds:
                self._check(losses, progress)
                losses = []
                self.save()
                saved = now
        if losses:
            self._check(losses, 1.0)
        self._check_weights()
        self.elapsed = base + time.monotonic() - began
        if not self.history or self.history[-1]["step"] != self.step:
            self._evaluate(1.0)
        if self.best_state is None:
            self.best_state = self.mean
        if self.best_state is not None:
            self.keep.load_state_dict(self.best_state)
        self.module.eval()
        return {"steps": self.step, "seconds": round(self.elapsed, 1),
                "best": None if self.best == -math.inf else self.best, "history": self.history}

    def _due(self, done: float, progress: float) -> bool:
        """Evaluations are spread over the run's progress, by steps or by the clock."""
        return int(max(done, progress) * self.s.evals + 1e-9) > len(self.history)

    def _update(self, rows: np.ndarray, progress: float) -> torch.Tensor:
        s = self.s
        self._set_pace(progress)
        torch.manual_seed(s.seed * 1_000_003 + self.step)
        if self.recorder is not None:
            return self.recorder(rows, self.step, progress)
        parts = np.array_split(rows, s.accumulate) if s.accumulate > 1 else [rows]
        return self._descend(*((lambda part=part: self.loss(part, self.step, progress), len(part) / len(rows))
                               for part in parts if len(part)))

    def _set_pace(self, progress: float) -> None:
        """The mean of early weights is short: a long one would remember the start."""
        s, groups = self.s, self.optimiser.param_groups
        rates = [s.lr * group["factor"] * _rate(progress, s.warmup) for group in groups]
        own = 1.0 - min(s.average, (1 + self.step) / (10 + self.step))
        self.pace.copy_(torch.tensor([*rates, own]), non_blocking=True)
        # On CUDA the optimiser reads them from the device: a recorded step has them no other way.
        for group, rate in zip(groups, self.pace if self.pace.is_cuda else rates):
            group["lr"] = rate

    def _descend(self, *parts: tuple[Callable, float]) -> torch.Tensor:
        """One step down the parts' losses, each weighed; what it returns and changes stays on the device."""
        total = torch.zeros((), device=self.device)
        for loss, share in parts:
            with autocast(self.device):
                value = loss()
            self.scaler.scale(value * share).backward()
            total += value.detach() * share
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self.module.parameters(), self.s.clip)
        self.scaler.step(self.optimiser)         # not with gradients that overflowed
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        if self.mean is not None:
            self._average()
        return total

    @torch.no_grad()
    def _average(self) -> None:
        now = self.keep.state_dict()
        mean = [m for m in self.mean.values() if m.is_floating_point()]
        apart = torch._foreach_sub([now[k] for k, m in self.mean.items() if m.is_floating_point()], mean)
        torch._foreach_mul_(apart, self.pace[-1])
        torch._foreach_add_(mean, apart)

    def _check(self, losses: list[torch.Tensor], progress: float) -> None:
        if not losses:
            return
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise TrainError(f"{self.name}: loss is {mean} between steps {self.step - len(losses)} and "
                             f"{self.step}; {self._kept()}")
        log(f"{self.name}: step {self.step} {100 * progress:.0f}% loss {mean:.4f}")

    def _check_weights(self) -> None:
        """A step whose loss was finite can leave weights that are not."""
        if not all(bool(torch.isfinite(p).all()) for p in self.module.parameters()):
            raise TrainError(f"{self.name}: step {self.step} left weights that are not finite; {self._kept()}")

    def _evaluate(self, progress: float) -> bool:
        """True when patience has run out."""
        if self.evaluate is None:
            return False
        self.module.eval()
        last = self._weights() if self.mean is not None else None
        if last is not None:
            self.keep.load_state_dict(self.mean)
        value = self.evaluate()
        kept = self._weights() if value is not None and value > self.best else None
        if last is not None:
            self.keep.load_state_dict(last)
        self.module.train()
        self.history.append({"step": self.step, "value": value})
        if value is None:                      # nothing yet that could be kept
            return False
        log(f"{self.name}: step {self.step} {100 * progress:.0f}% calib {value:.4f}")
        if value > self.best:
            self.best, self.stale = value, 0
            self.best_state = kept
        else:
            self.stale += 1
        return bool(self.s.patience) and self.stale >= self.s.patience
