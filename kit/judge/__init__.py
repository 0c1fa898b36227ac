"""What sealed runs may claim: verify, compare, replay."""
