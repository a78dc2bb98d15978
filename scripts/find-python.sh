#!/bin/sh
# Print a Python that can make the virtual environment: 3.11 or newer, with venv and pip's wheel.
# The pins of constraints.txt were made on 3.11, so that one comes first.
set -u

works() { command -v "$1" >/dev/null 2>&1 && "$1" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; }

found=""
for name in python3.11 python3.12 python3.13 python3 python; do
    works "$name" || continue
    found=${found:-$name}
    if "$name" -c "import ensurepip, venv" >/dev/null 2>&1; then
        echo "$name"
        exit 0
    fi
done

if [ -z "$found" ]; then
    echo "No Python 3.11 or newer was found. Install one from python.org or with the system's package manager." >&2
    exit 1
fi

# Debian and Ubuntu ship Python without venv.
version=$("$found" -c "import sys; print('%d.%d' % sys.version_info[:2])")
command="apt-get install -y --no-install-recommends python$version-venv"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive $command; } >&2 && echo "$found" && exit 0
fi
echo "Python $version is there, but its module venv is not. Run:  sudo apt-get update && sudo $command" >&2
exit 1
