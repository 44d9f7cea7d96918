#!/bin/sh
# A load generator of fixed outcomes: a server that takes 60 ms a request, one at a time (1,000 requests a minute), under
# equally spaced arrivals. Usage: scripted.sh DIR RATE_PER_MINUTE DURATION_S; writes DIR/out.csv. It takes a moment, so that
# a driver can be killed while it runs.
set -eu
sleep "${SCRIPTED_SLEEP:-0.05}"
awk -v rate="$2" -v duration="$3" 'BEGIN {
    print "intended,sent,first,done,in,out,ok"
    count = int(rate * duration / 60 + 0.5)
    for (i = 0; i < count; i++) {
        t = i * duration / count
        begin = t > free ? t : free
        free = begin + 0.06
        printf "%.6f,%.6f,%.6f,%.6f,8,8,true\n", t, t, begin + 0.03, free
    }
}' > "$1/out.csv"
