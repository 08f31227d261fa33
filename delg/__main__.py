"""``python -m delg COMMAND --flag=value``: the same commands without their installed scripts."""

import sys

from delg.commands import MODULES, run

if len(sys.argv) < 2 or sys.argv[1] not in MODULES:
    sys.exit(f"python -m delg: expected a command, one of {', '.join(MODULES)}.")
command = sys.argv.pop(1)
run(command)
