"""Where points are computed: processes on this computer, or a dask.distributed cluster; both are Executors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import wait
from typing import Any

from accelsim.errors import ConfigError, MissingExtraError

BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_PRELOADED = "accelsim.dse.task"  # by the process that workers are forked from
_CONNECT_S = 30


@dataclass(frozen=True, slots=True)
class Workers:
    """An executor and how many points it works on at a time."""

    executor: Executor
    count: int


def default_workers() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Pool:
    """Opens executors, also a new one when workers have died."""

    def __init__(self, workers: int | None, scheduler: str | None) -> None:
        """``scheduler`` is the address of a dask scheduler. Raises ConfigError, MissingExtraError."""
        if workers is not None and workers < 1:
            raise ConfigError("-j", "", f"expected at least 1 process, got {workers}")
        self._workers = workers or default_workers()
        self._scheduler = scheduler
        self._distributed: Any = None
        if scheduler is not None:
            try:
                self._distributed = import_module("distributed")
            except ImportError:
                raise MissingExtraError("--scheduler", "cluster") from None

    @contextmanager
    def open(self) -> Iterator[Workers]:
        """Workers; those that still run are ended at the end."""
        if self._scheduler is not None:
            with self._cluster(self._scheduler) as workers:
                yield workers
            return
        executor = _processes(self._workers)
        try:
            yield Workers(executor, self._workers)
        except BaseException:
            stop(executor)
            raise
        executor.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _cluster(self, address: str) -> Iterator[Workers]:
        try:
            client = self._distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(f"--scheduler {address}", "", f"no dask scheduler answers: {error}") from None
        with client:
            threads = sum(client.nthreads().values())
            if not threads:
                raise ConfigError(f"--scheduler {address}", "", "the cluster has no workers")
            with client.get_executor(pure=False) as executor:
                yield Workers(executor, threads)


def _processes(count: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([_PRELOADED])
    before = {name: os.environ.get(name) for name in BLAS}
    os.environ.update(dict.fromkeys(BLAS, "1"))  # before the workers import numpy; products here are narrow
    try:
        executor = ProcessPoolExecutor(count, mp_context=context, initializer=prepare)
        executor.submit(os.getpid).result()  # the server has started, with this environment
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return executor


def prepare() -> None:
    """Make a process a worker: Ctrl-C is the parent's business, and without a parent there is nothing to do."""
    os.environ.update(dict.fromkeys(BLAS, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def stop(executor: Executor) -> None:
    """End the processes of a pool without waiting for what they do."""
    processes = list((getattr(executor, "_processes", None) or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
