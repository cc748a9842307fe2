"""Reading what compiled files say of themselves, without loading them."""
