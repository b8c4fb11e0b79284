"""The outside world as plain values; none of this sees the store."""
