#!/usr/bin/env bash
# The photos of a folder as .tar archives of so many photos each, with GNU tar and coreutils:
#
#     bash docs/pack.sh photos data/raw/part- 10000
#
# The same photos give the same bytes, whoever packs them and when.
set -euo pipefail

export FOLDER=$1
mkdir -p "$(dirname "$2")"
find -L "$FOLDER" -type f -printf '%P\0' | LC_ALL=C sort --zero-terminated |
  split --separator='\0' --lines="$3" --numeric-suffixes --suffix-length=5 --additional-suffix=.tar --filter='
    tar --create --file "$FILE" --directory "$FOLDER" --null --files-from - --dereference --hard-dereference \
      --format=gnu --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rw,go=r' - "$2"
