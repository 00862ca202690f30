"""Models in the ONNX format as networks of accelsim. Needs the extra ``onnx``, imported when a file is read."""

from accelsim.onnx.model import OnnxModel, load_onnx

__all__ = ["OnnxModel", "load_onnx"]
