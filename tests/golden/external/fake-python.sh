#!/bin/sh
# Stands in for a Python interpreter with fmperf: FAKE says how it behaves, FAKE_RESULTS what it leaves behind.
set -eu
if [ "$1" = "-c" ]; then
    case "${FAKE_FORM:-$(basename "${PYTHONPATH%%:*}")}" in
    fork) echo "mst-fmperf rate 0123456789ab" ;;
    upstream) echo "mst-fmperf closed-loop 0123456789ab" ;;
    *) echo "ModuleNotFoundError: No module named 'fmperf'" >&2; exit 1 ;;
    esac
    exit 0
fi
[ "$1" = "-m" ]
env >"environment-$2"
case "$2" in
fmperf.loadgen.generate-input)
    # The newer form puts the input range into the name.
    printf '[{"config": {"in_tokens": 72, "out_tokens": 16}, "prompt_token_count": 72}]' \
        >"$REQUESTS_DIR/sample_requests_$MIN_INPUT_TOKENS-$MAX_INPUT_TOKENS.json"
    ;;
fmperf.loadgen.run)
    : >results_wid0
    case "$FAKE" in
    results) gzip -dc "$FAKE_RESULTS" >"$RESULTS_FILENAME" ;;
    empty) printf '{"results": [], "energy": {}}' >"$RESULTS_FILENAME"; exit 1 ;;
    upstream) echo "KeyError: 'NUM_USERS'" >&2; exit 1 ;;
    crash) echo "MemoryError: killed" >&2; exit 1 ;;
    esac
    ;;
esac
