"""ACE: a playbook that a reflector and a curator grow from a program's own answers."""
