"""The reference: BERT's WordPiece as Hugging Face `tokenizers` runs it, and zeb's, over the same records."""
import struct
import subprocess

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def read_vocab(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        return {line.rstrip("\n"): i for i, line in enumerate(file)}


def reference(vocab, lower=True, strip=None, ideographs=True):
    """What transformers' BertTokenizer builds."""
    made = Tokenizer(WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = BertNormalizer(True, ideographs, strip, lower)
    made.pre_tokenizer = BertPreTokenizer()
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL if t in vocab])
    made.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return made


def expected(tokenizer, records):
    """records: (a, b or None, length_max) of str; "id:type ..." of each."""
    lines = []
    for a, b, most in records:
        tokenizer.enable_truncation(most, strategy="longest_first")
        got = tokenizer.encode(a, b)
        lines.append(" ".join(f"{i}:{t}" for i, t in zip(got.ids, got.type_ids)))
    return lines


def zeb(program, folder, records):
    """The same from zeb's tokenize_records; texts may be bytes."""
    packed = bytearray()
    for a, b, most in records:
        a = a if isinstance(a, bytes) else a.encode()
        b = b if b is None or isinstance(b, bytes) else b.encode()
        packed += struct.pack("<iii", len(a), -1 if b is None else len(b), most) + a + (b or b"")
    done = subprocess.run([program, str(folder)], input=bytes(packed), stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().splitlines()


def compare(program, folder, tokenizer, records, what):
    """Counts and shows differences."""
    want, got = expected(tokenizer, records), zeb(program, folder, records)
    assert len(want) == len(got), (len(want), len(got))
    bad = [i for i in range(len(want)) if want[i] != got[i]]
    for i in bad[:5]:
        print(f"  {records[i]!r}\n    reference {want[i]}\n    zeb       {got[i]}")
    print(f"{what}: {len(records)} encoded, {len(bad)} differ", flush=True)
    return len(bad)
