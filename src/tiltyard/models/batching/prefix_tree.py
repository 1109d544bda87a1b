"""Remembers the keys and values of prompts, so that the next prompt reads only what is new in it.

A tree over token ids: prompts that begin alike share the nodes of their common beginning. The nodes that
were used longest ago give way when a memory budget is full.

>>> tree = PrefixTree(budget_bytes=2 * 10**9)
>>> tree.insert(prompt, keys_and_values)     # after a prompt has been read
>>> [segment.length for segment in tree.take(other_prompt)]
[540]
"""

from collections.abc import Callable, Iterator

from tiltyard.models.batching.key_values import Segment

SHORTEST = 16
"""Tokens. A shorter ending of a prompt is read again sooner than it is kept."""


class Node:
    """Tokens that follow those of the parent node, with their keys and values."""

    __slots__ = ("children", "parent", "segment", "tokens", "used")

    def __init__(self, tokens: tuple[int, ...], segment: Segment | None, parent: "Node | None") -> None:
        self.tokens = tokens
        self.segment = segment
        self.parent = parent
        self.children: dict[int, Node] = {}
        """By the first of their tokens, in which children differ."""
        self.used = 0
        """When it was last used, in the tree's own count of uses."""


class PrefixTree:
    """The prompts whose keys and values are in memory. One thread at a time may use it.

    Args:
        budget_bytes: The most memory of all segments together. None is without limit.
    """

    def __init__(self, budget_bytes: int | None) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        """Memory of all segments in it."""
        self._root = Node((), None, None)
        self._uses = 0

    def known(self, tokens: tuple[int, ...]) -> int:
        """How many tokens at the beginning are known."""
        return sum(shared for _, shared in self._usable(tokens))

    def _match(self, tokens: tuple[int, ...]) -> list[tuple[Node, int]]:
        """The nodes that the tokens run through, from the root, each with how many of its tokens they share.

        Only of the last node they may share a part.
        """
        self._uses += 1
        found: list[tuple[Node, int]] = []
        node, position = self._root, 0
        while position < len(tokens) and (child := node.children.get(tokens[position])) is not None:
            shared = common_length(child.tokens, tokens[position:])
            child.used = self._uses
            found.append((child, shared))
            if shared < len(child.tokens):
                break
            node, position = child, position + shared
        return found

    def take(self, tokens: tuple[int, ...]) -> list[Segment]:
        """The segments of the longest known beginning of the tokens, one after the other.

        A node of which only a part is shared is split first, so that the segments hold nothing else.
        """
        segments = []
        for node, shared in self._usable(tokens):
            used = node if shared == len(node.tokens) else self._split(node, shared)
            assert used.segment is not None
            segments.append(used.segment)
        return segments

    def _usable(self, tokens: tuple[int, ...]) -> list[tuple[Node, int]]:
        """The nodes that the tokens run through, less a small part of the last: cutting it costs more."""
        path = self._match(tokens)
        if path and path[-1][1] < min(SHORTEST, len(path[-1][0].tokens)):
            path.pop()
        return path

    def insert(self, tokens: tuple[int, ...], read: Callable[[int, int], Segment]) -> None:
        """Remember a prompt.

        Args:
            tokens: The prompt's tokens.
            read: Gives the segment of the tokens from a position to before another. It is asked for what
                the tree lacks.
        """
        path = self._match(tokens)
        position = sum(shared for _, shared in path)
        if len(tokens) - position < SHORTEST:
            return
        parent = self._root
        if path:
            last, shared = path[-1]
            parent = last if shared == len(last.tokens) else self._split(last, shared)
        segment = read(position, len(tokens))
        if segment.length != len(tokens) - position:  # or later prompts would silently be misread
            raise RuntimeError(f"{segment.length} tokens were read where {len(tokens) - position} are new")
        node = Node(tokens[position:], segment, parent)
        node.used = self._uses
        parent.children[node.tokens[0]] = node
        self.used_bytes += _bytes(node)
        self._evict()

    def _split(self, node: Node, at: int) -> Node:
        """Cut a node in two and return the first of them."""
        assert node.segment is not None
        assert node.parent is not None
        self.used_bytes -= _bytes(node)
        first = Node(node.tokens[:at], node.segment.part(0, at), node.parent)
        first.used = node.used
        node.parent.children[node.tokens[0]] = first
        node.segment = node.segment.part(at, len(node.tokens))
        node.tokens = node.tokens[at:]
        node.parent = first
        first.children[node.tokens[0]] = node
        self.used_bytes += _bytes(first) + _bytes(node)
        return first

    def _evict(self) -> None:
        if self.budget_bytes is None or self.used_bytes <= self.budget_bytes:
            return
        # Inner nodes are used whenever a node below them is, so the oldest leaf is the oldest of all.
        leaves = sorted(self._leaves(), key=lambda leaf: leaf.used, reverse=True)
        while self.used_bytes > self.budget_bytes and leaves:
            leaf = leaves.pop()
            parent = leaf.parent
            assert parent is not None
            del parent.children[leaf.tokens[0]]
            self.used_bytes -= _bytes(leaf)
            if not parent.children and parent is not self._root:
                leaves.append(parent)
                leaves.sort(key=lambda leaf: leaf.used, reverse=True)

    def _leaves(self) -> Iterator[Node]:
        waiting = list(self._root.children.values())
        while waiting:
            node = waiting.pop()
            if node.children:
                waiting.extend(node.children.values())
            else:
                yield node


def common_length(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    # Slices compare in C, so the first difference is found by halving and not token by token.
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high - 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _bytes(node: Node) -> int:
    return 0 if node.segment is None else node.segment.nbytes
