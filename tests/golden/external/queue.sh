#!/bin/sh
# A scripted load generator: one server that takes SERVICE_US for each request, in order of arrival; requests come evenly.
# usage: queue.sh FILE COUNT DURATION_S SERVICE_US
# Writes a CSV of times in microseconds. The same arguments give the same bytes.
set -eu
file=$1 count=$2 duration_us=$(($3 * 1000000)) service=$4
free=0 i=0
{
    echo "start_us,first_us,end_us,tokens,failure"
    while [ "$i" -lt "$count" ]; do
        start=$((duration_us * i / count))
        if [ "$start" -gt "$free" ]; then free=$start; fi
        first=$((free + service / 4))
        free=$((free + service))
        echo "$start,$first,$free,16,"
        i=$((i + 1))
    done
} >"$file"
