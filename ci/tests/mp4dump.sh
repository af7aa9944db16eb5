#!/usr/bin/env bash
# What images/tator_client/mp4dump tells of an MP4 in fragments, against what ffmpeg knows of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/assert.sh"
mp4dump=$here/../../images/tator_client/mp4dump
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

ffmpeg -nostdin -loglevel error -f lavfi -i testsrc2=duration=3:size=320x180:rate=25 -c:v libx264 -g 30 \
    -movflags +frag_keyframe+empty_moov+default_base_moof "$work/dive.mp4"
"$mp4dump" --format json "$work/dive.mp4" >"$work/boxes.json"
boxes() { python3 -c 'import json, sys; boxes = json.load(open(sys.argv[1])); print('"$1"')' "$work/boxes.json"; }
same 'the outermost boxes, in order' 'ftyp moov moof mdat moof mdat moof mdat mfra' "$(boxes '*(box["name"] for box in boxes)')"
same 'their sizes are the file' "$(stat -c %s "$work/dive.mp4")" "$(boxes 'sum(box["size"] for box in boxes)')"
same 'each fragment has its samples' '30 30 15' "$(boxes '*(run["sample count"] for box in boxes if box["name"] == "moof"
    for traf in box["children"] if traf["name"] == "traf" for run in traf["children"] if run["name"] == "trun")')"
same 'as many as there are frames' 75 "$(ffprobe -v error -count_packets -show_entries stream=nb_read_packets -of csv=p=0 "$work/dive.mp4")"

# Sizes of 64 bits, and one that reaches to the end.
printf '\0\0\0\1free\0\0\0\0\0\0\0\024abcd\0\0\0\0mdat1234' >"$work/sizes.mp4"
same 'large and open sizes' '[{"name": "free", "header_size": 16, "size": 20}, {"name": "mdat", "header_size": 8, "size": 12}]' \
    "$("$mp4dump" --format json "$work/sizes.mp4")"
head -c 2000 "$work/dive.mp4" >"$work/short.mp4"
exits 'a file that is cut off' 1 "$mp4dump" --format json "$work/short.mp4"
done_testing
