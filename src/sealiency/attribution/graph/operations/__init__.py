"""The operations of which it is known how an explanation passes through them, one class each."""
