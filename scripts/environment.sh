# Makes .venv beside the project when there is none, and installs the project into it. Sourced by the other scripts.
# Usage: extras="[dev]"; . scripts/environment.sh   (extras may be empty; sets PYTHON)

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

stamp=.venv/installed$extras
if [ ! -e "$stamp" ] || [ -n "$(find setup.py pyproject.toml -newer "$stamp")" ]; then
  if [ ! -x .venv/bin/python ]; then
    system_python=$(choose_python) || {
      echo "delg needs Python 3.11, 3.12 or 3.13; found $(python3 --version 2>&1 || echo none)." >&2
      exit 1
    }
    "$system_python" -m venv .venv || {
      rm -rf .venv
      echo "Python's venv module is missing; on Debian or Ubuntu: apt-get install python3-venv." >&2
      exit 1
    }
  fi
  echo "Installing delg and what it needs into .venv (once) ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extras" || {
    echo "The installation failed; see the message above." >&2
    exit 1
  }
  touch "$stamp"
fi
PYTHON=$PWD/.venv/bin/python
