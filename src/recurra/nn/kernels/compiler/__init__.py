"""How a loop written in Python becomes machine code that torch's threads run."""
