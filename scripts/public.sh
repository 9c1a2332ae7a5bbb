#!/bin/sh
# Counts the public declarations of Sources and those without a doc comment, and fails when there is one. Cases of public
# enums and requirements of public protocols count too. Exempt, since their meaning is that of what they fulfil: overrides,
# and the requirements of the standard library's protocols that are named below. Relies on the indentation of `make format`.
# Usage: scripts/public.sh [FOLDER]; NAMES=1 prints every public declaration.
set -eu
cd "${1:-$(dirname "$0")/..}"
find Sources -name '*.swift' | sort | xargs awk -v names="${NAMES:-}" '
  FNR == 1 { doc = 0; enclosing = ""; text = 0 }
  # Strings of several lines are no declarations.
  /"""/ { if (gsub(/"""/, "\"\"\"") == 1) text = !text }
  text { next }
  { match($0, /^ */); indent = RLENGTH; line = substr($0, indent + 1) }
  line ~ /^\/\/\// { doc = 1; next }
  line ~ /^@[a-zA-Z]+(\([^)]*\))?$/ { next }
  enclosing != "" && indent <= depth && line ~ /^}/ { enclosing = "" }
  {
    declares = line ~ /^(@[a-zA-Z]+(\([^)]*\))? )*((final|static|override|indirect|convenience|required|nonisolated) )*(public|open) / && line !~ /^public (private|internal|package)\(set\) *$/
    if (enclosing == "enum" && indent == depth + 2 && line ~ /^(indirect )?case /) declares = 1
    if (enclosing == "protocol" && indent == depth + 2 && line ~ /^(static |mutating )?(func|var|init|subscript|associatedtype)/) declares = 1
    if (declares) {
      exempt = line ~ /(^| )override / \
        || line ~ /func (==|hash\(into|encode\(to|makeIterator\(\)|_rawHashValue)|var (description|startIndex|endIndex)[: ]|init\((from decoder|rawValue|arrayLiteral|integerLiteral|dictionaryLiteral)|typealias RawValue/
      total++
      if (names) print FILENAME ":" FNR ": " line
      if (!doc && !exempt) { missing++; if (!names) print FILENAME ":" FNR ": no doc comment: " line }
      if (enclosing == "" && line ~ /(^| )(enum|protocol) / && line ~ /{$/) {
        enclosing = line ~ /(^| )enum / ? "enum" : "protocol"; depth = indent
      }
    }
    doc = 0
  }
  END {
    printf "%d public declarations, %d of them without a doc comment\n", total, missing
    exit missing > 0
  }'
