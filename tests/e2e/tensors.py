"""Checkpoints as the tests read and make them: safetensors files, shards, and a float one in a single file."""
import hashlib
import json
import math
import pathlib
import struct

COMPANIONS = ("config.json", "vocab.txt", "tokenizer_config.json")


def read_tensors(path):
    """Names with (dtype, shape, bytes), as the format's page has it."""
    data = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    begin, spans = 8 + size, sorted(tensor["data_offsets"] for tensor in header.values())
    assert [span[0] for span in spans] == [0] + [span[1] for span in spans[:-1]] and begin + spans[-1][1] == len(data)
    return {name: (tensor["dtype"], tensor["shape"], data[begin + tensor["data_offsets"][0]:begin + tensor["data_offsets"][1]])
            for name, tensor in header.items()}


def write_tensors(path, tensors, aligned=False):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 if aligned else 0)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def shards(folder):
    """The checkpoint's files, in the order of their names in the index."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def model_sha256(folder):
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in shards(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def floats_of(codes):
    """F16 for each I8 code, about what a table's values are; not proportional, so that rounding them again is felt."""
    halves = [struct.pack("<e", math.sinh((code if code < 128 else code - 256) / 60) / 30) for code in range(256)]
    out = bytearray(2 * len(codes))
    for byte in (0, 1):
        out[byte::2] = codes.translate(bytes(half[byte] for half in halves))
    return bytes(out)


def float_copy(source, folder):
    """A checkpoint of floats in one file: what ships with floats as it is, tables that ship in codes made up."""
    folder.mkdir()
    for name in COMPANIONS:
        (folder / name).write_bytes((source / name).read_bytes())
    tensors = {name: tensor for path in shards(source) for name, tensor in read_tensors(path).items()}
    for name in [name for name in tensors if name.endswith("_scale")]:
        _, shape, codes = tensors[name.removesuffix("_scale")]
        tensors[name.removesuffix("_scale")] = ("F16", shape, floats_of(codes))
        del tensors[name]
    write_tensors(folder / "model.safetensors", tensors, aligned=True)
    return folder
