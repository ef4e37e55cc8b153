#!/usr/bin/env bash
# Runs findings/*.sh and prints which changed: what they found about other people's software is no longer so.
# Usage: scripts/tools/run_findings.sh [--folder FOLDER] [NAME…]
#   NAME      a finding, without .sh; all of them by default
#   --folder  where they are, instead of findings/
# Exit status 1 if any changed or could not run, 2 where there is none of that name. They download what they look at.
set -uo pipefail
folder=$(dirname "${BASH_SOURCE[0]}")/../../findings
names=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    --folder)
        folder=${2:?--folder needs a folder}
        shift
        ;;
    -*)
        echo "run_findings: there is no option $1; --help says which there are" >&2
        exit 2
        ;;
    *) names+=("${1%.sh}") ;;
    esac
    shift
done
if [ ${#names[@]} -eq 0 ]; then
    for path in "$folder"/*.sh; do [ -e "$path" ] && names+=("$(basename "$path" .sh)"); done
fi
for name in "${names[@]}"; do
    [ -e "$folder/$name.sh" ] || { echo "run_findings: $folder has no $name.sh" >&2 && exit 2; }
done
changed=()
for name in "${names[@]}"; do
    if said=$(bash "$folder/$name.sh" 2>&1); then
        echo "as found  $name"
    else
        changed+=("$name")
        printf 'CHANGED   %s\n%s\n' "$name" "$(tail -n 20 <<<"$said" | sed 's/^/    /')"
    fi
done
echo "${#names[@]} findings, ${#changed[@]} changed${changed[*]:+: ${changed[*]}}"
[ ${#changed[@]} -eq 0 ]
