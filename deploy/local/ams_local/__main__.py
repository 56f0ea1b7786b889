"""`python -m ams_local <command>`: the whole system, or parts of it, on this machine."""

import argparse
import sys

from ams_local import execution
from ams_local.places import PlaceTakenError
from ams_local.processes import StartError
from ams_local.tools import ToolMissingError


def main() -> None:
    arguments = _parser().parse_args()
    execution.end_on_sigterm()
    try:
        sys.exit(_dispatch(arguments))
    except (PlaceTakenError, StartError, ToolMissingError) as problem:
        sys.exit(f"ams-local: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


def _dispatch(arguments: argparse.Namespace) -> int:
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise SystemExit("ams-local exec: which command? Give it after --")
    return execution.execute(words, throwaway=arguments.tests)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ams-local", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    run = commands.add_parser("exec", help="run a command with PostgreSQL, Redis and Kafka around it")
    run.add_argument("--tests", action="store_true", help="fresh throwaway data and fast settings")
    run.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    return parser


if __name__ == "__main__":
    main()
