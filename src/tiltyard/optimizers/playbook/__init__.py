"""Playbooks: rules that a program learns one by one, each with an id, its credit and its history."""
