#!/bin/sh
# Prints lines per file (median, 90th percentile, longest) and fails when the 90th percentile is over 350 or a file over 600.
set -eu
cd "$(dirname "$0")/.."
find Sources CRuntime Tests -name '*.swift' -o -name '*.c' -o -name '*.h' | xargs wc -l | grep -v ' total$' | sort -n | awk '
  { lines[NR] = $1; name[NR] = $2 }
  END {
    p90 = lines[int((NR * 9 + 9) / 10)]
    printf "%d files: median %d, p90 %d, longest %d (%s) lines\n", NR, lines[int((NR + 1) / 2)], p90, lines[NR], name[NR]
    exit p90 > 350 || lines[NR] > 600
  }'
