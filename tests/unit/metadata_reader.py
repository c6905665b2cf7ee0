"""Reads TFLite metadata by the slots of its public schema, for tests."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from flatbuffers.table import Table


class Reader:
    """A table of a flatbuffer, by slot numbers."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @classmethod
    def root(cls, data: bytes) -> Reader:
        return cls(Table(data, int.from_bytes(data[:4], "little")))

    def _at(self, slot: int) -> int:
        offset = self.table.Offset(4 + 2 * slot)
        return self.table.Pos + offset if offset else 0

    def has(self, slot: int) -> bool:
        return self._at(slot) > 0

    def text(self, slot: int) -> str | None:
        at = self._at(slot)
        return self.table.String(at).decode() if at else None

    def enum(self, slot: int) -> int:
        at = self._at(slot)
        return self.table.Get(number_types.Int8Flags, at) if at else 0

    def child(self, slot: int) -> Reader:
        return Reader(Table(self.table.Bytes, self.table.Indirect(self._at(slot))))

    def children(self, slot: int) -> list[Reader]:
        offset = self.table.Offset(4 + 2 * slot)
        if not offset:
            return []
        start = self.table.Vector(offset)
        ends = [start + 4 * i for i in range(self.table.VectorLen(offset))]
        return [Reader(Table(self.table.Bytes, self.table.Indirect(at))) for at in ends]

    def floats(self, slot: int) -> list[float]:
        return self.table.GetVectorAsNumpy(
            number_types.Float32Flags, self.table.Offset(4 + 2 * slot)
        ).tolist()


def buffers_of(model: bytes) -> list[bytes]:
    """Every metadata flatbuffer that the model has."""
    graph = schema.ModelT.InitFromPackedBuf(model, 0)
    entries = [m for m in graph.metadata if m.name == b"TFLITE_METADATA"]
    return [bytes(graph.buffers[m.buffer].data) for m in entries]


def metadata(model: bytes) -> Reader:
    (data,) = buffers_of(model)
    assert data[4:8] == b"M001"
    return Reader.root(data)
