"""A network as a graph of operations: traced once, walked forward for what it computes and back for what it rests on."""
