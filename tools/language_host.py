"""The Python language host for a Pulumi CLI built from source: a thin layer over the SDK's own gRPC server.

The official CLI ships `pulumi-language-python`; the Go module does not, and no registry has it. The engine starts this
program, reads the port from its standard output, and asks it to run the stack's program.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2


class PythonHost(LanguageServer):
    """Runs a Python program from its folder, where the SDK's server runs a function given beforehand."""

    def __init__(self, engine_address: str) -> None:
        super().__init__(program=lambda: None)
        self._engine_address = engine_address

    def Run(self, request: language_pb2.RunRequest, context: Any) -> language_pb2.RunResponse:
        program = Path(request.info.program_directory or request.pwd, request.info.entry_point or request.program)
        folder = program if program.is_dir() else program.parent
        os.chdir(request.pwd or folder)
        sys.argv = [str(program), *request.args]
        sys.path.insert(0, str(folder))

        def run_program() -> None:
            runpy.run_path(str(program), run_name="__main__")

        self.program = run_program
        request.args[:] = [self._engine_address]
        response = super().Run(request, context)
        if response.error:  # the SDK's server has shown it already: bail out without showing it twice
            return language_pb2.RunResponse(bail=True)
        return response

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version="3.0.0")

    def GetProgramDependencies(
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        found = [language_pb2.DependencyInfo(name=d.name, version=d.version) for d in distributions()]
        return language_pb2.GetProgramDependenciesResponse(dependencies=found)

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        program = Path(request.info.program_directory, request.info.entry_point)
        with subprocess.Popen(
            [sys.executable, "-u", str(program), *request.args],
            cwd=request.pwd,
            env=dict(pair.split("=", 1) for pair in request.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                yield language_pb2.RunPluginResponse(stdout=line)
        yield language_pb2.RunPluginResponse(exitcode=process.returncode)

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        return empty_pb2.Empty()


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=[("grpc.max_receive_message_length", -1)])
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(PythonHost(sys.argv[-1]), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    engine = os.getppid()
    print(port, flush=True)
    while not stop.wait(timeout=1) and os.getppid() == engine:  # a killed engine cannot say goodbye
        pass
    server.stop(grace=None)
    os._exit(0)  # a program still waiting for a dead engine would keep its threads, and so this process


if __name__ == "__main__":
    main()
