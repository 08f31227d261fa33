"""``python -m delg COMMAND --flag=value``: the same commands without their installed scripts."""

import sys

import delg
from delg.commands import MODULES, ending_with_its_reader, run

COMMANDS = ", ".join(MODULES)
command = sys.argv[1] if len(sys.argv) > 1 else ""
if command in MODULES:
    run(sys.argv.pop(1))
with ending_with_its_reader():
    if command in ("-h", "--help"):
        print(f"python -m delg COMMAND --flag=value ...; --help after a command lists its flags.\nCommands: {COMMANDS}")
    elif command == "--version":
        from delg.common.distribution import NAME

        print(f"{NAME} {delg.__version__}")
    else:
        sys.exit(f"python -m delg: expected a command, one of {COMMANDS}.")
