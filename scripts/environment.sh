# Makes .venv beside the project when there is none, and installs the project into it. Sourced by the other scripts.
# Usage: extras="[dev]"; . scripts/environment.sh   (extras may be empty; sets PYTHON, defines delg)

choose_python() {
  for candidate in "${DELG_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

# Whether an installation newer than its description has all that is wanted.
installed() {
  for stamp in .venv/installed*; do
    [ -e "$stamp" ] && [ -z "$(find setup.py pyproject.toml -newer "$stamp")" ] || continue
    had=,$(echo "${stamp#.venv/installed}" | tr -d '[]'),
    for one in $(echo "$extras" | tr -d '[]' | tr ',' ' '); do
      case $had in *,"$one",*) ;; *) continue 2 ;; esac
    done
    return 0
  done
  return 1
}

if ! installed; then
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    system_python=$(choose_python) || {
      found=$(command -v python3 >/dev/null 2>&1 && python3 --version 2>&1 || echo "no python3")
      echo "delg needs Python 3.11, 3.12 or 3.13; found $found." >&2
      exit 1
    }
    "$system_python" -c 'import ensurepip, venv' 2>/dev/null || {
      echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv." >&2
      exit 1
    }
    "$system_python" -m venv --clear .venv || {
      echo "The virtual environment .venv could not be made; see the message above." >&2
      exit 1
    }
  fi
  echo "Installing delg and what it needs into .venv (once) ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extras" || {
    echo "The installation failed; see the message above." >&2
    exit 1
  }
  touch ".venv/installed$extras"
fi
PYTHON=$PWD/.venv/bin/python

# Prints a command and runs it.
delg() {
  echo
  echo "delg-$*"
  command=$1
  shift
  "$PYTHON" -m delg "$command" "$@"
}
