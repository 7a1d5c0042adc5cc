"""A client of KEDA's external scaler, made from our own .proto when the tests begin."""
import importlib
import pathlib
import sys
import tempfile

import grpc
from grpc_tools import protoc

from harness import PATIENCE, ROOT

PROTO = ROOT / "Sources/leasehold-publisher/Keda"
_made = tempfile.TemporaryDirectory(prefix="keda-stubs-")
if protoc.main(["protoc", f"-I{PROTO}", f"--python_out={_made.name}", f"--grpc_python_out={_made.name}", "externalscaler.proto"]):
    raise RuntimeError("protoc does not take externalscaler.proto")
sys.path.insert(0, _made.name)
messages = importlib.import_module("externalscaler_pb2")
services = importlib.import_module("externalscaler_pb2_grpc")


class Keda:
    """Asks as KEDA does: one connection for all calls, metadata as a map of text."""

    def __init__(self, address):
        # A channel of our own, also where another one to the same address is open.
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = services.ExternalScalerStub(self.channel)

    def close(self):
        self.channel.close()

    @staticmethod
    def ref(metadata):
        return messages.ScaledObjectRef(name="browsers", namespace="shop", scalerMetadata={"scalerAddress": "leasehold:9809", **metadata})

    def is_active(self, pool="browsers", **metadata):
        return self.stub.IsActive(self.ref({"pool": pool, **metadata}), timeout=PATIENCE).result

    def specs(self, pool="browsers", **metadata):
        answer = self.stub.GetMetricSpec(self.ref({"pool": pool, **metadata}), timeout=PATIENCE)
        return [(s.metricName, s.targetSize, s.targetSizeFloat) for s in answer.metricSpecs]

    def values(self, name="", pool="browsers", **metadata):
        """[(name, whole, float)] and their age in milliseconds."""
        request = messages.GetMetricsRequest(scaledObjectRef=self.ref({"pool": pool, **metadata}), metricName=name)
        answer, call = self.stub.GetMetrics.with_call(request, timeout=PATIENCE)
        age = dict(call.trailing_metadata())["leasehold-age-ms"]
        return [(v.metricName, v.metricValue, v.metricValueFloat) for v in answer.metricValues], int(age)

    def demand(self, pool="browsers"):
        """The whole demand of one pool, and its age in milliseconds."""
        (value,), age = self.values(f"leasehold-demand-{pool}", pool)
        assert value[1] == value[2], value
        return value[1], age

    def stream(self, pool="browsers", timeout=None, **metadata):
        return self.stub.StreamIsActive(self.ref({"pool": pool, **metadata}), timeout=timeout)

    def refusal(self, call, *arguments, **named):
        """Code and message with which the call fails."""
        try:
            call(*arguments, **named)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError("it was answered")
