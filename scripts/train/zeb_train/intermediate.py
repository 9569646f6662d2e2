"""Between a public encoder and the tasks: many lessons at once, for an encoder made for something else.

MiniLM as it is at hand embeds sentences: it has never compared two texts in one pass, and has forgotten
much grammar.  Its own embeddings, frozen, teach it pairs; its texts, spoilt, teach it grammar; and every
task's train rows (never calib, dev or test) train a head each, as MT-DNN does (arXiv 1901.11504).  Each
step takes one lesson; which one, and how its texts are spoilt, depends on (seed, step) alone.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import augment, corpus, loop, store, tasks, tokens
from .batches import Batch, Store, holdout, plan
from .bert import Bert
from .losses import task_loss
from .readers import Row, read_split
from .tokens import MASK

# Steps of each lesson in a hundred, and rows in a step; tasks share theirs by the root of their rows.
_SHARES = {"words": (22, 96), "grammar": (12, 192), "similar": (30, 128), "tasks": (36, 48)}
_TASKS = ("glue/cola", "glue/sst2", "glue/mrpc", "glue/stsb", "glue/rte", "superglue/cb",
          "superglue/copa", "superglue/wic", "superglue/multirc")
SCALE = 5.0                 # of cosines as a target: STS-B's


class Lessons(nn.Module):
    """The encoder, a head a task, and what only this stage needs."""

    def __init__(self, model: Bert, heads: dict[str, int]):
        super().__init__()
        width = model.config.hidden_size
        self.model = model
        self.heads = nn.ModuleDict({k: nn.Linear(width, n) for k, n in heads.items()})
        self.word = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(model.config.vocab_size))
        self.genuine = nn.Linear(width, 1)

    def pooled(self, b: Batch) -> Tensor:
        out = self.model(b.ids, b.types, b.live, hidden=True)
        return self.model.pool(out.hidden[-1][:, 0])

    def states(self, b: Batch) -> Tensor:
        return self.model(b.ids, b.types, b.live, hidden=True, full_last=True).hidden[-1]

    def words(self, b: Batch, gen: torch.Generator) -> Tensor:
        """Masked words, and which words of the text with the guesses put in are not its own
        (ELECTRA, arXiv 2003.10555, with one encoder for both)."""
        content = b.live & (b.ids > MASK)
        hidden = content & (torch.rand(b.ids.shape, generator=gen, device=b.ids.device) < 0.15)
        masked = torch.where(hidden, torch.full_like(b.ids, MASK), b.ids)
        table = self.model.bert.embeddings.word_embeddings.weight
        state = self.states(_with(b, masked))[hidden]
        logits = self.word(state) @ table.T + self.bias
        gold = b.ids[hidden]
        with torch.no_grad():
            noise = torch.rand(logits.shape, generator=gen, device=logits.device)
            guess = (logits.float() - torch.log(-torch.log(noise + 1e-9) + 1e-9)).argmax(1)
        spoilt = b.ids.clone()
        spoilt[hidden] = guess
        odd = self.genuine(self.states(_with(b, spoilt)))[:, :, 0].float()
        wrong = F.binary_cross_entropy_with_logits(odd, (spoilt != b.ids).float(), reduction="none")
        return F.cross_entropy(logits.float(), gold) + 8.0 * (wrong * content).sum() / content.sum()


def _with(b: Batch, ids: Tensor) -> Batch:
    return Batch(ids, b.types, b.live, b.label, b.rows)


def spoil(b: Batch, kin: Tensor, gen: torch.Generator) -> tuple[Batch, Tensor]:
    """Single texts, about half of them made ungrammatical by one or two slips: two words swapped, one
    left out, one repeated elsewhere, one inflected wrongly.  `kin` [V]: another form of a word, or the
    word itself.  Returns the batch and 1.0 where a row was changed."""
    ids, live = b.ids, b.live
    slips = torch.randint(0, 3, (len(ids),), generator=gen, device=ids.device)      # none, one, two
    slips[torch.rand(len(ids), generator=gen, device=ids.device) < 0.25] = 0
    now, alive = ids, live
    for turn in range(2):
        changed, length = _slip(now, alive, kin, gen)
        rows = (slips > turn)[:, None]
        now = torch.where(rows, changed, now)
        alive = torch.where(rows, torch.arange(ids.shape[1], device=ids.device) < length[:, None], alive)
    bad = ((now != ids) | (alive != live)).any(1)
    return Batch(now, torch.zeros_like(now), alive, b.label, b.rows), bad.float()


def _slip(ids: Tensor, live: Tensor, kin: Tensor, gen: torch.Generator) -> tuple[Tensor, Tensor]:
    """One slip a row, of all four kinds in turn; ids [B,T] and lengths [B] after it."""
    device, longest = ids.device, ids.shape[1]
    length = live.sum(1)
    inner = (length - 2).clamp_min(1)                       # [CLS] and [SEP] stay

    def place():
        part = torch.rand(len(ids), generator=gen, device=device)
        return 1 + (part * inner).long().clamp(max=inner - 1)
    at, other, kind = place(), place(), torch.randint(0, 5, (len(ids),), generator=gen, device=device)
    near = torch.where(at + 1 < length - 1, at + 1, (at - 1).clamp_min(1))
    other = torch.where(kind == 4, near, other)             # 0 inflect, 1 drop, 2 repeat, 3 and 4 swap
    from_, grow = torch.arange(longest, device=device).repeat(len(ids), 1), torch.zeros_like(length)
    short, room = kind.eq(1) & (length > 4), kind.eq(2) & (length < longest)
    from_ = torch.where(short[:, None] & (from_ >= at[:, None]), from_ + 1, from_)
    from_ = torch.where(room[:, None] & (from_ > at[:, None]), from_ - 1, from_)
    grow = grow - short.long() + room.long()
    swap = kind >= 3
    here = from_ == at[:, None]
    there = from_ == other[:, None]
    from_ = torch.where(swap[:, None] & here, other[:, None], from_)
    from_ = torch.where(swap[:, None] & there, at[:, None], from_)
    out = torch.gather(ids, 1, from_.clamp(0, longest - 1))
    rows = torch.arange(len(ids), device=device)
    word = torch.where(kind == 0, kin[ids[rows, at]], ids[rows, other])
    keep = ~((kind == 0) | room)
    out[rows, at] = torch.where(keep, out[rows, at], word)
    length = length + grow
    return torch.where(torch.arange(longest, device=device) < length[:, None], out, 0), length


def inflections(vocab: list[str], rng: np.random.Generator) -> np.ndarray:
    """For each word another form of its stem that the vocabulary has, else itself."""
    at = {w: i for i, w in enumerate(vocab) if w.isalpha()}
    families: dict[str, set[int]] = {}
    for word, i in at.items():
        for stem in {word, *(word[:-len(e)] + r for e, r in _ENDINGS if word.endswith(e))}:
            if len(stem) > 2 and stem in at:
                families.setdefault(stem, set()).update((i, at[stem]))
    out = np.arange(len(vocab))
    for group in [{at[w] for w in words if w in at} for words in _IRREGULAR] + list(families.values()):
        for i in group:
            if len(group) > 1 and out[i] == i:
                out[i] = rng.choice(sorted(group - {i}))
    return out


_ENDINGS = (("s", ""), ("es", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("ies", "y"),
            ("ied", "y"), ("er", ""), ("er", "e"), ("ly", ""))
_IRREGULAR = (("is", "are", "be", "was", "were", "been"), ("has", "have", "had"), ("do", "does", "did"),
              ("he", "him", "his", "himself"), ("she", "her", "hers", "herself"),
              ("they", "them", "their", "themselves"), ("i", "me", "my", "myself"),
              ("we", "us", "our"), ("who", "whom", "whose", "which", "what"), ("a", "the", "an"),
              ("that", "this", "these", "those"), ("in", "on", "at", "to", "of", "for", "by", "with"),
              ("go", "goes", "went", "gone"), ("see", "saw", "seen"), ("give", "gave", "given"),
              ("take", "took", "taken"), ("any", "some", "no", "every"), ("ever", "never"),
              ("much", "many"), ("can", "must", "will", "would", "to"), ("if", "that", "whether"))


def join(a: Batch, b: Batch) -> Batch:
    """Two batches of single texts as one batch of pairs."""
    first, second = a.live.sum(1), b.live.sum(1)
    longest = int((first + second).max()) - 1
    at = torch.arange(longest, device=a.ids.device)[None, :]
    types = (at >= first[:, None]).long()
    live = at < (first + second - 1)[:, None]
    left = torch.gather(a.ids, 1, at.expand(len(first), -1).clamp(max=a.ids.shape[1] - 1))
    right = torch.gather(b.ids, 1, (at - first[:, None] + 1).clamp(0, b.ids.shape[1] - 1))
    ids = torch.where(live, torch.where(types == 1, right, left), 0)
    return Batch(ids, types * live, live, a.label, a.rows)


@torch.no_grad()
def embed(encoder: Bert, b: Batch) -> Tensor:
    """Unit vectors of single texts: the mean of the last states, as the encoder was made to be read."""
    x = encoder(b.ids, b.types, b.live, hidden=True, full_last=True).hidden[-1].float()
    return F.normalize((x * b.live[:, :, None]).sum(1) / b.live.sum(1, keepdim=True), dim=1)


def embed_all(encoder: Bert, rows: Store, batch: int = 512) -> Tensor:
    out = torch.zeros(len(rows), encoder.config.hidden_size, device=rows.device)
    order = np.argsort(rows.packed.length, kind="stable")
    with loop.autocast(rows.device):
        for at in range(0, len(order), batch):
            b = rows.batch(order[at:at + batch])
            out[b.rows] = embed(encoder, b)
    return out


def shorten(rows: list[Row], encoder: Bert, tokenizer, device: torch.device, keep: int = 3) -> list[Row]:
    """Passages down to the few sentences nearest to their question, by the encoder's own measure."""
    def vectors(texts):
        encoded = tokens.encode(tokenizer, [Row(0, t, None, None) for t in texts], 64)
        return embed_all(encoder, Store(encoded, device)).cpu().numpy()
    parts = {a: [p for p in re.split(r"(?<=[.!?]) +", a) if p] for a in dict.fromkeys(r.a for r in rows)}
    place, flat = {}, []
    for a, sentences in parts.items():
        place[a] = len(flat)
        flat += sentences
    sentence, question = vectors(flat), vectors([r.b for r in rows])
    out = []
    for r, q in zip(rows, question):
        near = sentence[place[r.a]:place[r.a] + len(parts[r.a])] @ q
        best = np.sort(np.argsort(-near, kind="stable")[:keep])
        out.append(Row(r.index, " ".join(parts[r.a][i] for i in best), r.b, r.label, r.group))
    return out


@dataclass
class Material:
    """What the lessons draw on, on the device."""
    texts: Store                       # texts and pairs as tasks encode them, and texts end to end
    singles: Store
    sound: np.ndarray                  # singles that stand for good grammar
    mates: Tensor                      # [singles, K] singles near each: mates of a row first, itself else
    tasks: dict[str, Store]


def gather(root: Path, vocab: Path, encoder: Bert, device: torch.device, seed: int, limit: int = 0,
           max_length: int = 128) -> Material:
    """Train files only; rows with a text that any task holds out (dev, test, calib) are left out."""
    tokenizer, out = tokens.load(vocab), {}
    taken = corpus.held_out(root)
    ungrammatical: set[str] = set()
    for name in _TASKS:
        task = tasks.get(name)
        if not (Path(root) / task.folder / task.files["train"]).is_file():
            loop.log(f"intermediate: {name} has no train file here, left out")
            continue
        rows = read_split(root, task, "train")
        held = holdout(rows)
        if name == "glue/cola":
            ungrammatical = {r.a for r, h in zip(rows, held) if h or r.label == 0}
        out[name] = [r for r, h in zip(rows, held) if not h]
    if questions := corpus.questions(root):
        out["glue/qqp"] = [r for r, h in zip(questions, holdout(questions)) if not h]
    out = {k: corpus.free_of(rows, taken)[:limit or None] for k, rows in out.items()}
    if "superglue/multirc" in out:
        out["superglue/multirc"] = shorten(out["superglue/multirc"], encoder, tokenizer, device)
    rows = corpus.distinct(root)[:limit or None]
    packed = tokens.encode(tokenizer, rows, max_length)
    texts = tokens.concat([packed, corpus.join(packed, np.random.default_rng(seed))])
    singles, sound, mates = _singles(rows, ungrammatical, tokenizer, encoder, device)
    loop.log(f"intermediate: {len(texts)} texts, {len(singles)} singles, {len(sound)} of them sound, "
             + ", ".join(f"{k} {len(v)}" for k, v in out.items()))
    return Material(Store(texts, device), singles, sound, mates,
                    {k: Store(tokens.encode(tokenizer, v, max_length), device)
                     for k, v in out.items()})


def _singles(rows: list[Row], ungrammatical: set[str], tokenizer, encoder: Bert, device: torch.device,
             near: int = 12):
    """Single texts of a sentence's size; for each, mates: the other text of its row, its nearest."""
    at: dict[str, int] = {}
    for r in rows:
        for t in (r.a, r.b):
            if t is not None and 4 < len(t.split()) < 48:
                at.setdefault(t, len(at))
    packed = tokens.encode(tokenizer, [Row(0, t, None, None) for t in at], 64)
    singles = Store(packed, device)
    other = np.full(len(at), -1)
    for r in rows:
        if r.b in at and r.a in at:
            other[at[r.a]], other[at[r.b]] = at[r.b], at[r.a]
    vectors = embed_all(encoder, singles)
    mates = torch.zeros(len(at), near, dtype=torch.long, device=device)
    for part in torch.arange(len(at), device=device).split(2048):
        mates[part] = (vectors[part] @ vectors.T).topk(min(near, len(at)), dim=1).indices
    known = torch.from_numpy(other).to(device)
    mates[:, :4] = torch.where(known[:, None] >= 0, known[:, None], mates[:, :4])
    sound = [i for t, i in at.items() if t not in ungrammatical and (t[0].isupper() or len(t.split()) > 9)]
    return singles, np.asarray(sound), mates


class Course:
    """One lesson a step; `batches(epoch)` names them, `loss` gives them."""

    def __init__(self, lessons: Lessons, encoder: Bert, m: Material, near: Tensor, kin: Tensor,
                 settings: loop.Settings):
        self.lessons, self.encoder, self.m, self.near, self.kin = lessons, encoder, m, near, kin
        self.s = settings
        roots = np.sqrt([len(r) for r in m.tasks.values()])
        self.task_share = dict(zip(m.tasks, roots / roots.sum()))

    def batches(self, epoch: int, steps: int = 1000) -> list[tuple[str, np.ndarray]]:
        out = []
        for kind, (share, size) in _SHARES.items():
            count = steps * share // 100
            if kind == "tasks":
                for name, part in self.task_share.items():
                    out += self._some(name, self.m.tasks[name].packed.length, size,
                                      max(1, round(count * part)), epoch)
            elif kind == "words":
                out += self._some(kind, self.m.texts.packed.length, size, count, epoch)
            elif kind == "similar":
                out += self._some(kind, self.m.singles.packed.length, size, count, epoch)
            elif len(self.m.sound):
                found = self._some(kind, self.m.singles.packed.length[self.m.sound], size, count, epoch)
                out += [(k, self.m.sound[r]) for k, r in found]
        order = np.random.default_rng([self.s.seed, epoch, 1]).permutation(len(out))
        return [out[i] for i in order]

    def _some(self, kind: str, length: np.ndarray, size: int, count: int, epoch: int):
        """`count` batches of an endless series of passes over a lesson's rows."""
        passes: dict[int, list[np.ndarray]] = {}
        per = (len(length) + size - 1) // size
        out = []
        for i in range(epoch * count, (epoch + 1) * count):
            n, at = divmod(i, per)
            if n not in passes:
                passes = {n: plan(length, size, self.s.seed, n)}
            out.append((kind, passes[n][at]))
        return out

    def loss(self, part: tuple[str, np.ndarray], step: int, progress: float) -> Tensor:
        kind, rows = part
        device = self.near.device
        gen = torch.Generator(device).manual_seed(self.s.seed * 7_368_787 + step)
        if kind == "words":
            return self.lessons.words(self.m.texts.batch(rows), gen)
        if kind == "grammar":
            b, bad = spoil(self.m.singles.batch(rows), self.kin, gen)
            return F.cross_entropy(self.lessons.heads["grammar"](self.lessons.pooled(b)).float(),
                                   bad.long())
        if kind == "similar":
            return self._similar(rows, gen)
        b = self.m.tasks[kind].batch(rows)
        value = task_loss(self.lessons.heads[kind](self.lessons.pooled(b)).float(), b.label)
        return value * (0.3 if kind == "glue/stsb" else 1.0)

    def _similar(self, rows: np.ndarray, gen: torch.Generator) -> Tensor:
        """A text beside one of its mates, a spoilt copy of itself, or any other text: the cosine that the
        frozen encoder gives the two."""
        device = self.near.device
        draw = torch.rand(len(rows), generator=gen, device=device)
        which = torch.randint(0, self.m.mates.shape[1], (len(rows),), generator=gen, device=device)
        at = torch.from_numpy(rows).to(device)
        any_ = torch.randint(0, len(self.m.singles), (len(rows),), generator=gen, device=device)
        mate = torch.where(draw < 0.65, self.m.mates[at, which], torch.where(draw < 0.85, at, any_))
        a = self.m.singles.batch(rows)
        b = self.m.singles.batch(mate.cpu().numpy())
        a = augment.augment(a, self.near, gen, 0.04, 0.0, 0.03)
        b = augment.augment(b, self.near, gen, 0.15, 0.0, 0.10)
        swap = torch.rand((), generator=gen, device=device) < 0.5
        a, b = (b, a) if bool(swap) else (a, b)
        goal = SCALE * (embed(self.encoder, a) * embed(self.encoder, b)).sum(1)
        got = self.lessons.heads["similar"](self.lessons.pooled(join(a, b)))[:, 0].float()
        return 2.0 * F.mse_loss(got, goal)


def run(name: str, start: Path, data: Path, vocab: Path, out: Path, settings: loop.Settings,
        device: torch.device, limit: int = 0) -> dict:
    torch.manual_seed(settings.seed)
    encoder = store.load_model(start).to(device).eval().requires_grad_(False)
    m = gather(data, vocab, encoder, device, settings.seed, limit)
    words = Path(vocab).read_text(encoding="utf-8").split("\n")[:encoder.config.vocab_size]
    near = augment.neighbours(encoder.bert.embeddings.word_embeddings.weight, words)
    kin = torch.from_numpy(inflections(words, np.random.default_rng(settings.seed))).to(device)
    heads = {k: tasks.get(k).num_labels for k in m.tasks} | {"similar": 1, "grammar": 2}
    lessons = Lessons(store.load_model(start), heads).to(device)
    course = Course(lessons, encoder, m, near, kin, settings)
    result = loop.Loop(name, out, lessons, settings, device, course.batches, course.loss, None).run()
    result["seen"] = {k: sorted(t.name for t in corpus.at_hand(data)) for k in m.tasks}
    store.save_heads(out, lessons.heads)
    save_pairs(Path(out) / "pairs.npz", m, settings.seed)
    store.save_model(out, lessons.model)
    return result


def save_pairs(path: Path, m: Material, seed: int, rows: int = 60_000) -> None:
    """Texts beside their mates, for a task-agnostic student to be taught on as well."""
    rng = np.random.default_rng(seed)
    at = rng.permutation(len(m.singles))[:rows]
    mate = m.mates.cpu().numpy()[at, rng.integers(0, m.mates.shape[1], len(at))]
    p, ids, types = m.singles.packed, [], []
    for one, two in zip(at, mate):
        a = p.ids[p.start[one]:p.start[one] + p.length[one]]
        b = p.ids[p.start[two] + 1:p.start[two] + p.length[two]]
        ids.append(np.concatenate([a, b]))
        types.append(np.repeat(np.array([0, 1], np.int8), [len(a), len(b)]))
    store.save_packed(path, tokens.unlabelled(ids, types, [len(x) for x in ids]))
