"""Which inputs a forecast comes from: methods, shards of sums, and their reduction."""
