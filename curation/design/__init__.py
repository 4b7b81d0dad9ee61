"""The optimal-design problem: pure mathematics over a graph of candidates and pairs (METHOD.md sections 2 to 8)."""
