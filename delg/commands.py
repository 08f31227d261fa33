"""Entry point of ``delg`` and ``delg-NAME``: checks the environment first, then hands over to the command's module.

A command's module defines its flags at import and ``main() -> None``. It is imported here, after the check that the
packages are not shadowed by folders of the same name that the user has on ``sys.path``.
"""

import importlib
import importlib.util
import json
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from delg.common.distribution import KERAS_BACKENDS
from delg.common.sources import PACKAGES

GROUPS = {
    "Your photos": {
        "search": ("matching.search", "finds the photos of a folder, a store or an index that show what a photo shows"),
        "sync": ("collection.sync", "describes the new and changed photos of a folder, forgets removed ones"),
        "serve": ("collection.serve_command", "answers searches of a folder from a page and over HTTP"),
        "match": ("matching.match", "compares two photos and draws the matches that agree"),
    },
    "Features and indexes": {
        "extract": ("extraction.extract", "describes photos into a feature store"),
        "features": ("extraction.features_command", "inspects, checks, merges and converts features"),
        "index": ("matching.build_index", "builds an index: exact, FAISS or Milvus"),
    },
    "Models": {
        "records": ("training.make_records", "converts labelled photos to TFRecord files"),
        "train": ("training.train", "trains or fine-tunes a model"),
        "train-reranker": ("training.train_reranker", "trains a reranker on the features of labelled photos"),
        "calibrate": ("extraction.calibrate", "adapts descriptors; learns a whitening, a threshold, ranges of int8"),
        "convert": ("delg.convert", "converts published weights to a model folder"),
        "export": ("delg.export", "exports a model as a SavedModel, as ONNX, or to be shared"),
    },
    "Benchmarks": {
        "benchmark": ("evaluation.benchmark", "evaluates on ROxford, RParis, GLDv2, places, or your photos"),
        "compare": ("evaluation.compare", "compares two reports query by query"),
        "fetch": ("evaluation.fetch", "downloads published weights, ground truth and photos"),
        "landmarks": ("evaluation.make_landmarks", "draws a set of landmarks with ground truth"),
    },
}
"""The commands by subject: module and summary."""
MODULES = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}
COMPLETION = """\
# Completion of the delg commands for bash and zsh: eval "$(delg completion)"
[ -n "$ZSH_VERSION" ] && autoload -U +X bashcompinit && bashcompinit
_delg() {
  local IFS=$'\\n' word=${COMP_WORDS[COMP_CWORD]} words="COMMANDS"
  if [ "$COMP_CWORD" -gt 1 ]; then
    case $word in
      -*) words=$(delg "${COMP_WORDS[1]}" -h 2>/dev/null | sed -n -E 's/^ +--(\\[no\\])?([a-z0-9_]+).*/--\\2/p') ;;
      *) COMPREPLY=($(compgen -f -- "$word")); return ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o filenames -F _delg delg
"""
RESUMING = ("landmarks", "records", "train", "extract", "index", "benchmark", "fetch", "features", "sync", "search")


def shadowed_package() -> str | None:
    """The sentence that names a package that Python finds in a folder which is not ours; None when all is well."""
    home = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or []) if spec else []
        if [Path(place).resolve() for place in places] != [home / package]:
            location = f"Python finds {places[0]}" if places else "Python finds none"
            return (
                f"The package folder '{package}' of delg at {home / package} is shadowed or missing: {location}; start "
                "the installed command (delg-...) from another folder or take that folder off PYTHONPATH."
            )
    return None


def chosen_backend() -> str:
    """Keras' backend: that of ``KERAS_BACKEND``, else that of ``keras.json``, else the first that is installed.

    Keras writes ``keras.json`` itself, with TensorFlow in it also where that is absent, so that the file counts only
    where its backend is installed. TensorFlow where no backend is, whose absence Keras then reports.
    """
    if given := os.environ.get("KERAS_BACKEND"):
        return given
    names = (_configured_backend(), *KERAS_BACKENDS)
    return next((name for name in names if name and importlib.util.find_spec(name)), KERAS_BACKENDS[0])


def _configured_backend() -> str | None:
    """What Keras' own configuration file says, if it can be read."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras"))
    try:
        document = json.loads((home.expanduser() / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # the last: a user without a home
        return None
    name = document.get("backend") if isinstance(document, dict) else None
    return name if isinstance(name, str) and name.isidentifier() else None


def main() -> None:
    """Runs the command that the started script is named after: ``delg-train``, or ``delg train``, runs ``train``."""
    name = Path(sys.argv[0]).stem.removesuffix("-script")  # the latter on Windows
    command = name.removeprefix("delg-")
    if command in MODULES:
        run(command)
    if name.startswith("delg-"):
        sys.exit(f"{name}: expected the name delg-COMMAND, with a command among {', '.join(MODULES)}.")
    dispatch()


def dispatch() -> None:
    """Runs the command that is the first argument, or prints help, the version, or the completion of a shell."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command in MODULES:
        run(sys.argv.pop(1))
    with ending_with_its_reader():
        if command in ("-h", "--help", "help"):
            print(_help())
        elif command == "--version":
            from delg.common.distribution import NAME, __version__

            print(f"{NAME} {__version__}")
        elif command == "completion":
            print(COMPLETION.replace("COMMANDS", "\n".join([*MODULES, "completion"])), end="")
        else:
            sys.exit(f"delg: expected a command, one of {', '.join(MODULES)}; delg -h explains them.")


def _help() -> str:
    """The commands by subject."""
    lines = ["delg COMMAND ...; delg COMMAND -h lists the flags of a command."]
    for title, group in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:10} {summary}" for name, (_, summary) in group.items())]
    return "\n".join([*lines, "", '  completion prints the completion for bash and zsh: eval "$(delg completion)"'])


def run(command: str) -> None:
    """Runs one command and ends the process: with one sentence instead of a traceback for a user's mistake.

    Exit codes are 0, also of ``--help`` and ``--version``; 1 for a mistake; 130 after Ctrl-C; 141 where nobody reads
    what the command prints any more (``| head``).
    """
    try:
        with ending_with_its_reader():
            _run(command)
    except KeyboardInterrupt:
        rest = "continues" if command in RESUMING else "begins anew"
        print(f"\ndelg-{command}: interrupted; the same command {rest}.", file=sys.stderr)
        sys.exit(130)


@contextmanager
def ending_with_its_reader() -> Iterator[None]:
    """Ends the process with 141 and no word where nobody reads what is printed inside."""
    try:
        try:
            yield
        finally:
            for stream in _streams():
                stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in _streams():
            os.dup2(nowhere, stream.fileno())  # or Python complains when it flushes them at its end
        sys.exit(141)


def _streams() -> list[TextIO]:
    """Output and error stream, without those that were closed before the start (``>&-``)."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _unread() -> bool:
    """Whether what this process prints goes to a pipe whose reader has ended."""
    watched = select.poll()
    for stream in _streams():
        watched.register(stream.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in watched.poll(0))


def _run(command: str) -> None:
    if complaint := shadowed_package():
        sys.exit(f"delg-{command}: {complaint}")
    from delg import foreign

    if complaint := foreign.overwritten():
        sys.exit(f"delg-{command}: {complaint}")
    if warning := foreign.beside():
        print(f"delg-{command}: warning: {warning}", file=sys.stderr)
    from absl import app, flags, logging

    from delg.common.distribution import NAME, __version__
    from delg.common.options import SUBJECTS
    from delg.printing_flags import define_printing_flags
    from delg.quiet import silence_tensorflow, skip_optional_imports

    module = importlib.import_module(MODULES[command])
    own = flags.FLAGS.get_flags_for_module(module.__name__)
    takes_weights = any(flag.name in ("model", "init_model", "input") for flag in own)
    if takes_weights:
        flags.DEFINE_bool("offline", False, "Fetch no published weights, as with DELG_OFFLINE=1.")
        own = [*own, flags.FLAGS["offline"]]
        SUBJECTS["offline"] = next(SUBJECTS[flag.name] for flag in own if flag.name in ("model", "init_model", "input"))
    for flag in own:
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    sys.modules["__main__"].__doc__ = module.__doc__
    define_printing_flags(f"delg-{command} ({NAME} {__version__})", f"delg-{command}\n\n{module.__doc__}", own)
    os.environ["KERAS_BACKEND"] = chosen_backend()
    os.environ["KERAS_HOME"] = os.devnull  # no other setting of keras.json counts
    logging.set_verbosity(logging.WARNING)  # absl's default is INFO; --verbosity overrides this
    silence_tensorflow()
    skip_optional_imports()

    def guarded(arguments: Sequence[str]) -> None:
        from delg.common.errors import InputError

        if takes_weights and flags.FLAGS["offline"].value:
            os.environ["DELG_OFFLINE"] = "1"
        try:
            if len(arguments) > 1 and not getattr(module, "POSITIONAL", ""):
                raise InputError(f"Unexpected argument {arguments[1]!r}; every setting is a --flag=value.")
            if getattr(module, "POSITIONAL", ""):
                module.main(arguments[1:])
            else:
                module.main()
        except (InputError, OSError) as error:
            if isinstance(error, BrokenPipeError) and _unread():
                raise
            sys.exit(f"delg-{command}: {error}")

    app.run(guarded)
