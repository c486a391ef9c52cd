#!/usr/bin/env bash
# Grade each student in a container of their own:  tutorials/exercises/in_containers.sh SUBMISSIONS OUT [OPTIONS]
# SUBMISSIONS holds a folder per student; OUT gets a folder of results for each, and grades.csv; OPTIONS go to
# `minilora grade`. Needs Docker (or DOCKER=podman). Run it with the repository's path in front, from anywhere.
set -euo pipefail
repository="$(cd "$(dirname "$0")/../.." && pwd)"
submissions="$(cd "$1" && pwd)"
mkdir -p "$2"
out="$(cd "$2" && pwd)"
shift 2

"${DOCKER:-docker}" build --quiet --tag minilora-grader --file - "$repository" <<'END'
FROM python:3.12-slim
COPY . /minilora
RUN pip install --no-cache-dir /minilora
END

for folder in "$submissions"/*/; do
  student="$(basename "$folder")"
  mkdir -p "$out/$student"
  # No network, no rights, no writing but its own results: what a hand-in breaks is its own container.
  "${DOCKER:-docker}" run --rm --network none --read-only --tmpfs /tmp --cap-drop ALL \
    --security-opt no-new-privileges --memory 4g --pids-limit 100 --user "$(id -u):$(id -g)" --env HOME=/tmp \
    --volume "$folder:/in/$student:ro" --volume "$out/$student:/out" \
    minilora-grader minilora grade "/in/$student" --one-student --csv /out/grades.csv --feedback /out/pages "$@" ||
    echo "$student: not graded" >&2
done

{ head --quiet --lines 1 "$out"/*/grades.csv | head --lines 1; tail --quiet --lines +2 "$out"/*/grades.csv; } > "$out/grades.csv"
echo "wrote $out/grades.csv"
