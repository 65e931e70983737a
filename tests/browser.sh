#!/bin/sh
# Makes sure that there is a Chromium for the browser tests: one on the PATH, else Playwright's own download,
# else the system's package where we may install it. Usage: tests/browser.sh PYTHON
set -eu
python=$1
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    if command -v "$name" >/dev/null 2>&1; then
        echo "Browser for the tests: $(command -v "$name")"
        exit 0
    fi
done
echo "Browser for the tests: downloading Playwright's Chromium"
if "$python" -m playwright install chromium; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Browser for the tests: that failed; installing Debian's chromium"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium && exit 0
fi
echo "No browser: install Chromium or Chrome, then run make test again." >&2
exit 1
