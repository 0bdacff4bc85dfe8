"""The command line. Exit status: 0 done, 2 bad input (one line, no traceback), 130 interrupted, 1 a bug (with its traceback)."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TextIO

import ultr
from ultr.errors import ConfigError, UltrError, UltrWarning

BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are bad input like any other: one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}. See {self.prog} --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    Args:
        argv: Arguments after the program's name; those of the process when None.

    Raises:
        Exception: whatever is a bug.
    """
    with _warnings_in_one_line(), _stopped_like_an_interrupt():
        try:
            arguments = _parser().parse_args(argv)
            said = arguments.run(arguments)
            if isinstance(said, int):
                return said
            if said:
                print(said, flush=True)
            return 0
        except UltrError as error:
            return _say(str(error), BAD_INPUT)
        except KeyboardInterrupt:
            return _say("interrupted.", INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit finds no closed pipe
            return PIPE_CLOSED
        except OSError as error:
            if error.filename is None:
                raise
            return _say(f"{error.filename}: {error.strerror}.", BAD_INPUT)


def _say(message: str, status: int) -> int:
    print(f"ultr: {_one_line(message)}", file=sys.stderr)
    return status


def _one_line(message: str) -> str:
    return " ".join(line.strip() for line in message.splitlines())


@contextmanager
def _stopped_like_an_interrupt() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that its worker processes end with it."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only there may a handler be set
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show each warning of ultr once, as one line; those of other packages as Python does."""
    shown: set[str] = set()
    show = warnings.showwarning

    def in_one_line(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
    ) -> None:
        if not issubclass(category, UltrWarning):
            show(message, category, filename, lineno, file, line)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"ultr: warning: {_one_line(str(message))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UltrWarning)
        warnings.showwarning = in_one_line
        yield


def _parser() -> _Parser:
    parser = _Parser(prog="ultr", description="Unbiased learning to rank and debiasing: simulate, fit, score, compare.")
    parser.add_argument("--version", action="version", version=f"ultr {ultr.__version__}")
    parser.set_defaults(run=lambda arguments: parser.format_help().rstrip())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    add = _adder(commands)

    command = add("demo", _demo, "needs no file: simulate clicks, compare naive, IPS, DLA and the truth, write a report")
    command.add_argument("--out", type=Path, default=Path("ultr-demo"), metavar="DIR", help="folder for the results (default: ultr-demo)")

    command = add("simulate", _simulate, "draw clicks on a graded set and write them as a log folder; a killed run goes on", config=True)
    command.add_argument("--overwrite", action="store_true", help="replace a log that is there already, discard an unfinished one")
    command.add_argument("--workers", type=int, metavar="N", help="number of processes, in place of [run] workers")

    command = add("fit", _fit, "fit one estimator; write the ranker, its propensity and its learning curves", config=True)
    command.add_argument("--nproc", type=int, default=1, metavar="N", help="train in N processes, each on its share of the pages")

    command = add("score", _score, "write a fitted ranker's scores of a log")
    command.add_argument("model", type=Path, metavar="MODEL", help="folder of a model, or of `ultr fit`")
    command.add_argument("log", type=Path, metavar="LOG", help="log folder, or a config whose [data] is read")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help=".csv or .parquet: page, item, score, rank")

    command = add("compare", _compare, "estimators x seeds x metrics, paired, with a report; a killed run goes on", config=True)
    command.add_argument("--seeds", type=int, metavar="N", help="number of seeds, in place of [run] seeds")
    command.add_argument("--workers", type=int, metavar="N", help="number of processes, in place of [run] workers")
    command.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to run on, in place of [run] scheduler and workers")

    command = add("describe", _describe, "what is in a log, and what can be learnt from it")
    command.add_argument("log", type=Path, metavar="LOG", help="log folder, or a config whose [data] is read")

    command = add("import", _import, "make a log folder of your own table, by the column mapping in a config", config=True)
    command.add_argument("--overwrite", action="store_true", help="replace a log that is there already")
    limit = "memory for sorting a table, such as 2GB (default: 800MB); what needs more goes to the disk"
    command.add_argument("--memory-limit", metavar="SIZE", help=limit)
    return parser


def _adder(commands: argparse._SubParsersAction) -> Callable[..., argparse.ArgumentParser]:
    def add(name: str, run: Callable[[argparse.Namespace], str | int], what: str, config: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        command.set_defaults(run=run)
        if config:
            command.add_argument("config", type=Path, metavar="CONFIG", help="TOML file")
            command.add_argument("--data", type=Path, metavar="PATH", help="folder (or file) where [data] and [test] lie")
            command.add_argument("--out", type=Path, metavar="DIR", help="folder for the results, in place of [run] out")
        return command

    return add


# Each command is imported when it is run: `ultr --help` waits for nothing.


def _demo(arguments: argparse.Namespace) -> str:
    from ultr.commands.compare import demo

    return demo(arguments.out)


def _simulate(arguments: argparse.Namespace) -> str:
    from ultr.commands.simulate import simulate
    from ultr.config import read_config

    return simulate(read_config(arguments.config), arguments.data, arguments.out, arguments.overwrite, arguments.workers)


def _fit(arguments: argparse.Namespace) -> str | int:
    if arguments.nproc < 1:
        raise ConfigError(f"--nproc must be at least 1, not {arguments.nproc}.")
    if arguments.nproc > (most := 4 * (os.cpu_count() or 1)):
        raise ConfigError(f"--nproc {arguments.nproc} is more than four processes a processor, {most} here.")
    if arguments.nproc > 1:
        from ultr.commands.launch import launch

        given = [("--data", arguments.data), ("--out", arguments.out)]
        options = [part for name, value in given if value is not None for part in (name, str(value))]
        return launch(arguments.nproc, ["fit", str(arguments.config), *options])
    from ultr.commands.fit import fit
    from ultr.config import read_config

    return fit(read_config(arguments.config), arguments.data, arguments.out)


def _score(arguments: argparse.Namespace) -> str:
    from ultr.commands.score import score

    return score(arguments.model, arguments.log, arguments.out)


def _compare(arguments: argparse.Namespace) -> str:
    from ultr.commands.compare import compare
    from ultr.config import read_config

    config, seeds, workers = read_config(arguments.config), arguments.seeds, arguments.workers
    return compare(config, arguments.data, arguments.out, seeds, workers, arguments.scheduler)


def _describe(arguments: argparse.Namespace) -> str:
    from ultr.commands.describe import describe

    return describe(arguments.log)


def _import(arguments: argparse.Namespace) -> str:
    from ultr.commands.logs import import_log
    from ultr.config import read_config

    return import_log(read_config(arguments.config), arguments.data, arguments.out, arguments.overwrite, arguments.memory_limit)
