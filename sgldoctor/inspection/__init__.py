"""What a shared library, a wheel or an installed package holds and asks for, before or after it is installed."""
