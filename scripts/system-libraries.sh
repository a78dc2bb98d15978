#!/bin/sh
# Make sure that Qt can open a window: the system's libraries and, without a display, Xvfb.
#
# Usage: scripts/system-libraries.sh PYTHON
# PYTHON has PyQt6. Where something is missing it is installed (Debian and Ubuntu, as root), or the
# command that does so is printed and the exit code is 1. Does nothing when all is there.
set -u
python=$1

[ "$(uname -s)" = Linux ] || exit 0 # the wheels bring all they need elsewhere

missing() {
    qt=$("$python" -c "import pathlib, PyQt6; print(pathlib.Path(PyQt6.__file__).parent / 'Qt6')") || exit 1
    for file in "$qt"/plugins/platforms/libqxcb.so "$qt"/plugins/xcbglintegrations/*.so "$qt"/lib/libQt6OpenGLWidgets.so.6; do
        ldd "$file" 2>/dev/null | awk '/not found/ {print $1}'
    done
    # Loaded by name at run time, so no file names them.
    for name in libGL.so.1 libEGL.so.1 libGLX_mesa.so.0; do
        "$python" -c "import ctypes; ctypes.CDLL('$name')" 2>/dev/null || echo "$name"
    done
    if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
        for name in Xvfb xvfb-run xauth; do
            command -v "$name" >/dev/null 2>&1 || echo "$name"
        done
    fi
}

lacking=$(missing | sort -u | tr '\n' ' ')
[ -z "$lacking" ] && exit 0

# A name may differ between releases; the first that the release knows is taken, else the last.
wanted="
libegl1 libgl1 libgl1-mesa-dri libglx-mesa0 libopengl0 libxkbcommon-x11-0 libdbus-1-3
libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
libxcb-shape0 libxcb-xinerama0 libxcb-xfixes0 libxcb-glx0 libfontconfig1
libglib2.0-0t64|libglib2.0-0 fonts-dejavu-core xvfb xauth
"

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Qt cannot open a window, because these are missing: $lacking" >&2
    echo "Install them with the system's package manager. On Debian they are in: $(echo $wanted)" >&2
    exit 1
fi

root=$([ "$(id -u)" = 0 ] && echo yes)
if [ -n "$root" ]; then
    apt-get update -q >&2 || exit 1
fi
packages=""
for choice in $wanted; do
    for name in $(echo "$choice" | tr '|' ' '); do
        if apt-cache show "$name" >/dev/null 2>&1; then
            break
        fi
    done
    packages="$packages $name"
done
command="apt-get install -y --no-install-recommends$packages"
if [ -z "$root" ]; then
    echo "Qt cannot open a window, because these are missing: $lacking" >&2
    echo "Run:  sudo apt-get update && sudo $command" >&2
    exit 1
fi
DEBIAN_FRONTEND=noninteractive $command >&2 || exit 1
lacking=$(missing | sort -u | tr '\n' ' ')
if [ -n "$lacking" ]; then
    echo "Qt still cannot open a window, because these are missing: $lacking" >&2
    exit 1
fi
