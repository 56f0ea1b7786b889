"""`python -m ams_local <command>`: the whole system, or parts of it, on this machine."""

import argparse
import asyncio
import os
import sys

from ams_local import execution, guide, mail, paths, provision, running, tools, upstream
from ams_local.daemons import StartError
from ams_local.keyring import Keyring
from ams_local.paths import DirectoryInUseError
from ams_local.rest import ProblemError
from ams_local.tools import ToolMissingError


def main() -> None:
    arguments = _parser().parse_args()
    execution.end_on_signals()
    try:
        sys.exit(_dispatch(arguments))
    except (DirectoryInUseError, ProblemError, StartError, TimeoutError, ToolMissingError) as problem:
        sys.exit(f"ams-local: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


def _dispatch(arguments: argparse.Namespace) -> int:
    match arguments.command:
        case "exec":
            return _execute(arguments)
        case "run":
            return running.run()
        case "provision":
            return _provision()
        case "guide":
            guide.guide(paths.run_directory())
        case "mail":
            asyncio.run(mail.serve(arguments.smtp_port, arguments.page_port))
        case "upstream":
            upstream.serve(arguments.port)
        case "npm":
            return tools.run_npm(arguments.words)
    return 0


def _execute(arguments: argparse.Namespace) -> int:
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    if not words:
        raise SystemExit("ams-local exec: which command? Give it after --")
    if not arguments.tests:
        return execution.execute(words, throwaway=False)
    # Playwright's own Node.js needs a library (libatomic) that not every system has.
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(tools.node()))
    with paths.files_in_memory():
        return execution.execute(words, throwaway=True)


def _provision() -> int:
    admin_url = os.environ.get("DATABASE_URL")
    if not admin_url:
        raise SystemExit("ams-local provision: DATABASE_URL must be an administrator's URL")
    path = paths.run_directory() / "secrets.json"
    provision.prepare_database(admin_url, Keyring(path))
    print(f"The database `ams` is ready; its roles' passwords are in {path}.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ams-local", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("run", help="run all of AMS, with a small demo marketplace")
    execute = commands.add_parser("exec", help="run a command with PostgreSQL, Redis and Kafka around it")
    execute.add_argument("--tests", action="store_true", help="fresh throwaway data and fast settings")
    execute.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    commands.add_parser("provision", help="only make the database, its roles and schemas, at DATABASE_URL")
    catcher = commands.add_parser("mail", help="only the mail catcher")
    catcher.add_argument("smtp_port", type=int)
    catcher.add_argument("page_port", type=int)
    merchant = commands.add_parser("upstream", help="only the demo merchants' API")
    merchant.add_argument("port", type=int)
    npm = commands.add_parser("npm", help="npm from the Node.js wheel, in the working directory")
    npm.add_argument("words", nargs=argparse.REMAINDER)
    commands.add_parser("guide", help="what `run` does once its processes are started")
    return parser


if __name__ == "__main__":
    main()
