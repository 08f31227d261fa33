#!/bin/sh
# Builds the documentation site into build/site, without a network; a broken link is an error.
# To read it: python3 -m http.server --directory build/site
set -eu
cd "$(dirname "$0")/.."
extras="[docs]"
. scripts/environment.sh
export NO_MKDOCS_2_WARNING=1
exec "$PYTHON" -m mkdocs build --strict --quiet --site-dir="${1:-build/site}"
