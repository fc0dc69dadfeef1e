"""The tests of `torch.export` and ONNX are not in the source distribution."""


class ExportTesterMixin:
    """Without a test."""
