"""What florafauna's speed is, against what people would otherwise do: `python -m benchmarks NAME...`."""
