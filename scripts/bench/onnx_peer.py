"""BERT in ONNX Runtime: plain as exporters write it, or fused by the tools that it ships with."""
import os

import numpy as np

import peer

# Plain; all that the tool fuses; attention alone, for ONNX Runtime's SkipLayerNormalization is slower than Add and norm.
FORMS = ("plain", "fused", "attention")


def plain(model, parts, path, first_only, int8):
    """The network as exporters write it, which ONNX Runtime fuses as it sees fit. With int8, linear layers of the encoder
    are DynamicQuantizeLinear + MatMulInteger, weights symmetric a channel."""
    from onnx import TensorProto, helper, numpy_helper, save

    layers, d, heads, _ = peer.MODELS[model]
    nodes, inits, serial = [], [], [0]

    def const(a, dtype=np.float32):
        serial[0] += 1
        inits.append(numpy_helper.from_array(np.array(a, dtype, order="C"), f"c{serial[0]}"))
        return f"c{serial[0]}"

    def op(kind, *ins, outs=1, **attrs):
        serial[0] += 1
        names = [f"v{serial[0]}_{i}" for i in range(outs)]
        nodes.append(helper.make_node(kind, list(ins), names, f"n{serial[0]}", **attrs))
        return names[0] if outs == 1 else names

    def ints(*values):
        return const(values, np.int64)

    quantised = {}

    def linear(x, name):
        weight, bias = parts[name + ".w"], const(parts[name + ".b"])
        if not int8:
            return op("Add", op("MatMul", x, const(weight.T)), bias)
        if x not in quantised:
            quantised[x] = op("DynamicQuantizeLinear", x, outs=3)
        q, scale, zero = quantised[x]
        ws = np.maximum(np.abs(weight).max(axis=1), 1e-30) / 127
        wq = np.clip(np.rint(weight / ws[:, None]), -127, 127)
        acc = op("MatMulInteger", q, const(wq.T, np.int8), zero, const(0, np.int8))
        return op("Add", op("Mul", op("Cast", acc, to=TensorProto.FLOAT), op("Mul", scale, const(ws))), bias)

    def layer_norm(x, g, b):
        return op("LayerNormalization", x, const(parts[g]), const(parts[b]), epsilon=1e-12, axis=-1)

    def split(x, perm=(0, 2, 1, 3)):
        return op("Transpose", op("Reshape", x, ints(0, 0, heads, d // heads)), perm=perm)

    length = op("Unsqueeze", op("Gather", op("Shape", "ids"), const(1, np.int64), axis=0), ints(0))
    positions = op("Slice", const([np.arange(peer.POSITIONS)], np.int64), ints(0), length, ints(1))
    x = op("Add", op("Add", op("Gather", const(parts["word"]), "ids"), op("Gather", const(parts["type"]), "types")),
           op("Gather", const(parts["position"]), positions))
    x = layer_norm(x, "gamma", "beta")
    wide = op("Cast", op("Unsqueeze", op("Unsqueeze", "mask", ints(1)), ints(2)), to=TensorProto.FLOAT)
    hidden = op("Mul", op("Sub", const(1), wide), const(-10000))
    for l in range(layers):
        y = x
        if first_only and l == layers - 1:
            y = op("Slice", x, ints(0), ints(1), ints(1))
        q, k, v = linear(y, f"{l}.q"), linear(x, f"{l}.k"), linear(x, f"{l}.v")
        scores = op("Div", op("MatMul", split(q), split(k, (0, 2, 3, 1))), const(np.sqrt(d // heads)))
        p = op("Softmax", op("Add", scores, hidden), axis=-1)
        context = op("Reshape", op("Transpose", op("MatMul", p, split(v)), perm=[0, 2, 1, 3]), ints(0, 0, d))
        y = layer_norm(op("Add", linear(context, f"{l}.o"), y), f"{l}.gamma1", f"{l}.beta1")
        z = linear(y, f"{l}.in")
        erf = op("Add", op("Erf", op("Div", z, const(np.sqrt(2)))), const(1))
        z = op("Mul", op("Mul", z, erf), const(0.5))
        x = layer_norm(op("Add", linear(z, f"{l}.out"), y), f"{l}.gamma2", f"{l}.beta2")
    first = op("Gather", x, const(0, np.int64), axis=1)
    pooled = op("Tanh", op("Gemm", first, const(parts["pooler.w"]), const(parts["pooler.b"]), transB=1))
    nodes.append(helper.make_node("Gemm", [pooled, const(parts["classifier.w"]), const(parts["classifier.b"])],
                                  ["logits"], transB=1))
    graph = helper.make_graph(
        nodes, "bert",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in ("ids", "types", "mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", peer.LABELS])], inits)
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    net.ir_version = 8
    save(net, path)


def first_row(net):
    """Cuts the last layer of a fused network down to [CLS] behind its attention, which stays whole."""
    from onnx import helper, numpy_helper

    def cut(node, at):
        full, node.input[at] = node.input[at], f"{node.output[0]}_of_first"
        net.add_node(helper.make_node("Slice", [full, "first_at", "first_end", "first_end"], [node.input[at]]))

    for name, value in (("first_at", 0), ("first_end", 1)):
        net.add_initializer(numpy_helper.from_array(np.array([value], np.int64), name))
    last, readers = net.get_nodes_by_op_type("Attention")[-1], net.input_name_to_nodes()
    rest = [n for n in readers[last.input[0]] if n is not last]  # where the residual is added
    cut(readers[last.output[0]][0], 0)
    cut(rest[0], list(rest[0].input).index(last.input[0]))


def fused(model, source, path, attention_only, first_only, int8):
    """The plain network `source` as onnxruntime.transformers fuses it, then quantised by onnxruntime.quantization."""
    import logging

    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    layers, d, heads, _ = peer.MODELS[model]
    options = FusionOptions("bert")
    if attention_only:
        options.enable_skip_layer_norm = options.enable_embed_layer_norm = options.enable_bias_gelu = False
    net = optimizer.optimize_model(source, "bert", heads, d, opt_level=0, optimization_options=options)
    done = net.get_fused_operator_statistics()
    if done["Attention"] != layers or done["SkipLayerNormalization"] != (0 if attention_only else 2 * layers):
        peer.fail(f"{source}: ONNX Runtime's tool did not fuse it as it used to: {done}")
    if first_only:
        first_row(net)
    net.save_model_to_file(path)
    if int8:
        logging.disable(logging.WARNING)  # it asks for preparations that the file has had
        quantize_dynamic(path, path, op_types_to_quantize=["MatMul", "Attention"], per_channel=True,
                         weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": TensorProto.FLOAT})
        logging.disable(logging.NOTSET)


def file_of(model, parts, form, precision, first_only):
    """The path of a network, made where it is missing or older than this script."""
    path = os.path.join(peer.ROOT, "build", "bench", f"{model}-{precision}-{form}{'-first' if first_only else ''}.onnx")
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(__file__):
        made, int8 = path + ".part", precision == "int8"
        if form == "plain":
            plain(model, parts, made, first_only, int8)
        else:
            fused(model, file_of(model, parts, "plain", "fp32", False), made, form == "attention", first_only, int8)
        os.replace(made, path)
    return path


class Session:
    """A network with all optimisations of a session but the one that FORMS names, inputs bound once."""

    def __init__(self, name, path, threads):
        import onnxruntime as ort
        o = ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
        o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        o.log_severity_level = 3
        self.s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"],
                                      disabled_optimizers=["SkipLayerNormFusion"])
        self.name, self.version = name, ort.__version__

    def bind(self, ids, mask=None):
        """ids: [batch, tokens]; mask: 1 where there is a token."""
        import onnxruntime as ort
        ids = np.atleast_2d(np.asarray(ids, np.int64))
        self.feed = {"ids": ids, "types": np.zeros_like(ids), "mask": np.ones_like(ids) if mask is None else mask}
        self.io = self.s.io_binding()
        for n, a in self.feed.items():
            self.io.bind_ortvalue_input(n, ort.OrtValue.ortvalue_from_numpy(a))
        self.io.bind_output("logits")

    def run(self, passes):
        from time import perf_counter_ns
        out = np.zeros(passes)
        run, io = self.s.run_with_iobinding, self.io
        for i in range(passes):
            t = perf_counter_ns()
            run(io)
            out[i] = perf_counter_ns() - t
        return out * 1e-6

    def logits(self):
        return self.s.run(["logits"], self.feed)[0]


def sessions(model, parts, precision, first_only, threads):
    """A session of every form of the network, among which the fastest is to be found."""
    return [Session(f, file_of(model, parts, f, precision, first_only), threads) for f in FORMS]
