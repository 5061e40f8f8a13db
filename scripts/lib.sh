# Shared by scripts/{demo,test,check,bench,lock}: finds Python, installs what is needed inside the checkout.
# Sourced by bash; the caller has set -euo pipefail.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '[%s] %s\n' "$(basename "$0")" "$*" >&2; }
die() { say "$*"; exit 1; }

# The first Python of at least 3.11, as a path.
find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  die "No Python of at least 3.11 was found on PATH; install python3 and run this again."
}

# The path of CPython $1 (such as 3.12), from PATH or pyenv; empty where the machine has none.
find_python_version() {
  local candidate
  for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    if "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

# Debian and Ubuntu packages, only where something is missing: installed as root, named otherwise.
need_system() {
  local python=$1 missing=()
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  # mappy comes as source: a C compiler, zlib's and Python's headers build it.
  if ! command -v cc >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1; then missing+=(gcc libc6-dev); fi
  [ -e /usr/include/zlib.h ] || missing+=(zlib1g-dev)
  local header
  header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
  [ -e "$header" ] || missing+=(python3-dev)
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing system packages: ${missing[*]}"
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  else
    die "System packages are missing; run: sudo apt-get install -y ${missing[*]}"
  fi
}

# install_into VENV LOCK: what LOCK pins, by hash. uv is quick; pip knows more about proxies and mirrors, so it is tried next.
install_into() {
  local venv=$1 lock=$2
  "$venv/bin/python" -m pip install -q --require-hashes --no-deps -r requirements/uv.txt 2>/dev/null || true
  if "$venv/bin/python" -m uv --no-config pip install -q --compile-bytecode --python "$venv/bin/python" --require-hashes --no-deps \
      --build-constraints requirements/build.txt -r "$lock" 2>"$venv/uv.log"; then
    return
  fi
  say "uv could not install $lock (see $venv/uv.log); trying pip"
  "$venv/bin/python" -m pip install -q --require-hashes --no-deps -r "$lock" >&2
}

# ensure_venv VENV PYTHON LOCK [project]: made once per interpreter and lock; a second call does nothing.
ensure_venv() {
  local venv=$1 python=$2 lock=$3 project=${4:-project} stamp
  stamp=$( { "$python" -c 'import sys; print(sys.version)'; cat "$lock" requirements/build.txt pyproject.toml; pwd; } | sha256sum | cut -d' ' -f1)
  [ "$(cat "$venv/stamp" 2>/dev/null)" = "$stamp" ] && return
  need_system "$python"
  say "installing $(grep -c '==' "$lock") pinned packages into $venv"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  install_into "$venv" "$lock"
  if [ "$project" = project ]; then
    install_into "$venv" requirements/build.txt
    "$venv/bin/python" -m pip install -q --no-deps --no-build-isolation -e . >&2
  fi
  echo "$stamp" > "$venv/stamp"
}
