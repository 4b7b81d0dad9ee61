"""The optimal-design problem: pure mathematics over a graph of candidates and pairs.

Source: docs/method.md sections 2 to 8.
"""
