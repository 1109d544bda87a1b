"""Evaluation: a program on examples, row by row, and what the rows say."""
